//! YAML text as a tree in which every key and value knows its place.
//!
//! Owns: what of YAML is accepted, and its limits. Must not: know what keys mean.
//!
//! Accepted is the plain core: maps with text keys, lists, scalars, one document. Refused, with a place: anchors
//! and aliases (so no input grows or loops), tags, merge keys, further documents, keys that are not text,
//! duplicate keys. Scalars stay text as written; who reads them decides whether `no` or `1` is text or a value.

use granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span as YamlSpan};

use super::file::{conclude, utf8};
use super::problem::Parsed;
use super::reader::Reader;
use super::source::{MAX_TEXT, Span};
use super::wire::to_json;

/// How deep maps and lists may be nested.
const MAX_DEPTH: usize = 32;
/// How many keys and values a file may have.
const MAX_NODES: usize = 200_000;

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Nothing, `~` or `null`.
    Null,
    /// A scalar.
    Scalar(Scalar),
    /// A list.
    List(Vec<Node>),
    /// A map, in file order, without duplicates.
    Map(Vec<(Key, Node)>),
}

/// Text as written.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Whether it stands without quotes, so that `1` is a number and `true` a truth value.
    pub(super) plain: bool,
    /// Whether each of its lines is a line of the file (`|`).
    pub(super) literal: bool,
}

/// The key of a map's entry.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Span,
}

impl Node {
    /// Describes it for messages.
    pub(super) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a map".to_owned(),
            Kind::Scalar(scalar) => quoted(&scalar.text),
        }
    }
}

/// Returns text for a message: short, without control characters, in backquotes.
pub(super) fn quoted(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    let short: String = line.chars().take(48).collect();
    let cut = short.len() < text.trim_end().len();
    format!(
        "`{}{}`",
        crate::text::printable(&short),
        if cut { "..." } else { "" }
    )
}

/// Reads a YAML file of free shape with the same care, as JSON: for files whose shape others own.
pub fn parse_yaml(path: &str, bytes: &[u8]) -> Parsed<serde_json::Value> {
    let text = utf8(path, bytes)?;
    let mut reader = Reader::new(path, text);
    let value = parse(&mut reader).map(|node| to_json(&node));
    conclude(value, reader.finish())
}

/// Reads a file's text; `None` if there is nothing to look into after the problems were reported.
pub(super) fn parse(reader: &mut Reader<'_>) -> Option<Node> {
    let text = reader.source.text;
    if text.len() > MAX_TEXT {
        reader.whole_file(
            &format!("the file has {} bytes, more than {MAX_TEXT}", text.len()),
            Some("put data into files of its own beside this one"),
        );
        return None;
    }
    let mut options = Options::default();
    options.set_emit_comments(false);
    options.emit_unresolved_aliases = true;
    options.disallow_directives = true;
    let mut builder = Builder {
        events: Parser::new_from_str_with_options(text, options),
        nodes: 0,
        end: 0,
    };
    builder.document(reader)
}

/// Why building a tree stopped; the problem was already reported.
struct Stop;

struct Builder<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    nodes: usize,
    /// Where the last event ended, for nodes that have no end of their own.
    end: usize,
}

impl<'a> Builder<'a> {
    fn next(&mut self, reader: &mut Reader<'_>) -> Result<(Event<'a>, Span), Stop> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                let span = bytes(span);
                self.end = span.end;
                Ok((event, span))
            }
            Some(Err(error)) => {
                syntax(&error, reader);
                Err(Stop)
            }
            None => Err(Stop),
        }
    }

    fn document(&mut self, reader: &mut Reader<'_>) -> Option<Node> {
        let mut root = None;
        loop {
            let (event, span) = self.next(reader).ok()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    reader.error(
                        span,
                        "a second document begins here",
                        Some("keep one document per file"),
                    );
                    return root;
                }
                Event::DocumentStart(..) => {
                    let (event, span) = self.next(reader).ok()?;
                    root = Some(self.node(event, span, 0, reader).ok()?);
                }
                _ => return root,
            }
        }
        if root.is_none() {
            reader.whole_file("the file is empty", Some("begin with `harness: 1`"));
        }
        root
    }

    fn node(
        &mut self,
        event: Event<'a>,
        span: Span,
        depth: usize,
        reader: &mut Reader<'_>,
    ) -> Result<Node, Stop> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            let (what, limit) = if depth > MAX_DEPTH {
                ("levels of nesting", MAX_DEPTH)
            } else {
                ("values", MAX_NODES)
            };
            reader.error(span, format!("the file has more than {limit} {what}"), None);
            return Err(Stop);
        }
        refuse_properties(&event, span, reader)?;
        let kind = match event {
            Event::Scalar(text, style, ..) => scalar(&text, style, span),
            Event::SequenceStart(..) => self.list(depth, reader)?,
            Event::MappingStart(..) => self.map(depth, reader)?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let hint = "write the value out in every place; one that begins with `*` needs quotes";
                reader.error(span, "anchors and aliases are not allowed", Some(hint));
                return Err(Stop);
            }
            _ => return Err(Stop),
        };
        let end = match kind {
            Kind::List(_) | Kind::Map(_) => self.end.max(span.end),
            Kind::Null | Kind::Scalar(_) => span.end,
        };
        Ok(Node {
            span: Span {
                start: span.start,
                end,
            },
            kind,
        })
    }

    fn list(&mut self, depth: usize, reader: &mut Reader<'_>) -> Result<Kind, Stop> {
        let mut items = Vec::new();
        loop {
            match self.next(reader)? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(items)),
                (event, span) => items.push(self.node(event, span, depth + 1, reader)?),
            }
        }
    }

    fn map(&mut self, depth: usize, reader: &mut Reader<'_>) -> Result<Kind, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::BTreeMap::<String, Span>::new();
        loop {
            let (event, span) = self.next(reader)?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Kind::Map(entries));
            }
            let key = self.node(event, span, depth + 1, reader)?;
            let (event, span) = self.next(reader)?;
            let value = self.node(event, span, depth + 1, reader)?;
            let Kind::Scalar(scalar) = key.kind else {
                let braces = reader
                    .source
                    .text
                    .get(..key.span.start)
                    .is_some_and(|before| before.ends_with('{'));
                let (message, hint) = match key.kind {
                    Kind::Map(_) if braces => (
                        "a template without quotes".to_owned(),
                        "put the whole value in quotes",
                    ),
                    _ => (
                        format!("a key must be text, found {}", key.describe()),
                        "put the key in quotes",
                    ),
                };
                reader.error(key.span, message, Some(hint));
                continue;
            };
            let text = scalar.text;
            if let Some(first) = seen.get(&text) {
                let line = reader.source.line_of(first.start) + 1;
                reader.error(
                    key.span,
                    format!("duplicate key {}", quoted(&text)),
                    Some(&format!("it is already in line {line}; keep one of them")),
                );
                continue;
            }
            seen.insert(text.clone(), key.span);
            entries.push((Key { text, span: key.span }, value));
        }
    }
}

/// Refuses what makes a tree more than text, lists and maps. Such a file is not read further: what an anchor or a
/// tag would have meant is not known.
fn refuse_properties(event: &Event<'_>, span: Span, reader: &mut Reader<'_>) -> Result<(), Stop> {
    let (anchor, tag) = match event {
        Event::Scalar(_, _, anchor, tag)
        | Event::SequenceStart(_, anchor, tag)
        | Event::MappingStart(_, anchor, tag) => (*anchor != 0, tag.is_some()),
        _ => return Ok(()),
    };
    if anchor {
        let hint = "write the value out in every place; one that begins with `&` needs quotes";
        reader.error(span, "anchors and aliases are not allowed", Some(hint));
    } else if tag {
        let hint = "remove the word that begins with `!`, or put the whole value in quotes";
        reader.error(span, "YAML tags are not allowed", Some(hint));
    }
    if anchor || tag { Err(Stop) } else { Ok(()) }
}

fn scalar(text: &str, style: ScalarStyle, span: Span) -> Kind {
    let plain = matches!(style, ScalarStyle::Plain);
    // A value that is left out comes as a plain `~` without any width.
    if plain && (span.start == span.end || matches!(text, "" | "~" | "null" | "Null" | "NULL")) {
        return Kind::Null;
    }
    Kind::Scalar(Scalar {
        text: text.to_owned(),
        plain,
        literal: matches!(style, ScalarStyle::Literal),
    })
}

fn bytes(span: YamlSpan) -> Span {
    let start = span.start.byte_offset().unwrap_or(0);
    Span {
        start,
        end: span.end.byte_offset().unwrap_or(start).max(start),
    }
}

fn syntax(error: &ScanError, reader: &mut Reader<'_>) {
    let at = error.marker().byte_offset().unwrap_or(0);
    let line = reader.source.line(reader.source.line_of(at));
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        let start = reader.source.line_span(reader.source.line_of(at)).start;
        reader.error(
            Span {
                start: start - indent.len(),
                end: start,
            },
            "tabs cannot indent YAML",
            Some("indent with spaces"),
        );
        return;
    }
    let info = crate::text::printable(&error.info());
    let hint = if info.contains("mapping values") {
        Some("check the indentation of this line; a value with `: ` in it needs quotes")
    } else if info.contains("quote") {
        Some("a quote is not closed here or in a line before")
    } else if info.contains('%') || info.contains("cannot start any token") {
        Some("put the value in quotes")
    } else {
        None
    };
    reader.error(
        Span {
            start: at,
            end: at + 1,
        },
        format!("not valid YAML: {info}"),
        hint,
    );
}
