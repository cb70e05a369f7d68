//! Checks templates before anything runs: they are compiled, and rendered as they will be.
//!
//! Owns: finding a template's mistakes and their lines in the file. Must not: keep what was rendered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::reader::Reader;
use super::source::Span;
use super::suggest;
use crate::template::{Template, TemplateError};

/// A template within a file.
#[derive(Clone, Copy)]
pub(super) struct TemplatePlace<'a> {
    /// What messages call it.
    pub(super) name: &'a str,
    pub(super) text: &'a str,
    pub(super) span: Span,
    /// Whether line n of the template is line n of the span.
    pub(super) lines_match: bool,
}

/// Compiles a template, or reports why that fails.
pub(super) fn compile(place: TemplatePlace<'_>, reader: &mut Reader<'_>) -> Option<Template> {
    match Template::compile(place.name, place.text) {
        Ok(template) => Some(template),
        Err(error) => {
            report(place, &error, None, reader);
            None
        }
    }
}

/// Renders a template with each of some variables and reports every different mistake once.
pub(super) fn render_all(
    template: &Template,
    place: TemplatePlace<'_>,
    variables: impl Iterator<Item = Value>,
    reader: &mut Reader<'_>,
) {
    let mut seen = BTreeSet::new();
    for variables in variables {
        if let Err(error) = template.render(place.name, &variables) {
            let place_of_error = (error.line, error.range.as_ref().map(|range| range.start));
            if seen.insert((place_of_error, error.message.clone())) {
                report(place, &error, Some(&variables), reader);
            }
        }
    }
}

fn report(
    place: TemplatePlace<'_>,
    error: &TemplateError,
    variables: Option<&Value>,
    reader: &mut Reader<'_>,
) {
    let expression = error
        .range
        .clone()
        .and_then(|range| whole_name(place.text, range))
        .map(str::trim);
    let span = locate(place, error, expression, reader);
    let known = variables.map(paths).unwrap_or_default();
    let (message, hint) = match expression.filter(|_| error.undefined) {
        Some(expression) => {
            let message = format!("{}: {} is undefined", place.name, super::tree::quoted(expression));
            (
                message,
                Some(suggest::hint(expression, known.iter().map(String::as_str))),
            )
        }
        None => (
            format!("{}: {}", place.name, crate::text::printable(&error.message)),
            None,
        ),
    };
    reader.error(span, message, hint.as_deref());
}

/// Returns the text of a range, grown to the left over names and dots: minijinja marks the last part only.
fn whole_name(text: &str, range: std::ops::Range<usize>) -> Option<&str> {
    let before = text.get(..range.start)?;
    let start = if text.get(range.clone())?.starts_with('.') {
        before
            .trim_end_matches(|c: char| c.is_alphanumeric() || matches!(c, '_' | '.'))
            .len()
    } else {
        range.start
    };
    text.get(start..range.end)
}

/// Finds the line of the file that holds a line of the template.
fn locate(
    place: TemplatePlace<'_>,
    error: &TemplateError,
    expression: Option<&str>,
    reader: &Reader<'_>,
) -> Span {
    let Some(line) = error.line.filter(|_| place.lines_match) else {
        return find(place.span, expression, reader).unwrap_or(place.span);
    };
    let first = reader.source.line_of(place.span.start);
    let span = reader.source.line_span(first + line.saturating_sub(1));
    find(span, expression, reader).unwrap_or(span)
}

fn find(within: Span, expression: Option<&str>, reader: &Reader<'_>) -> Option<Span> {
    let expression = expression.filter(|text| !text.is_empty())?;
    let at = reader
        .source
        .text
        .get(within.start..within.end)?
        .find(expression)?;
    let start = within.start + at;
    Some(Span {
        start,
        end: start + expression.len(),
    })
}

/// Returns what can be written between the braces, such as `sample.vars.path`.
fn paths(variables: &Value) -> Vec<String> {
    fn walk(prefix: &str, value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) if !map.is_empty() && found.len() < 100 => {
                for (key, value) in map {
                    let path = if prefix.is_empty() {
                        key.clone()
                    } else {
                        format!("{prefix}.{key}")
                    };
                    walk(&path, value, found);
                }
            }
            _ => found.push(prefix.to_owned()),
        }
    }
    let mut found = Vec::new();
    walk("", variables, &mut found);
    found
}
