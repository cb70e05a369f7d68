//! Templates of instructions, prompts and rubrics: strict, bounded, alone.
//!
//! Owns: compiling and rendering, and what a template may spend. Must not: load anything, or take a model's output
//! as a template.
//!
//! Undefined variables are errors, there is no escaping, and a template reaches no other file. `trim_blocks` and
//! `lstrip_blocks` are on, so that a line with only `{% ... %}` leaves no empty line behind.

use std::io::Write;
use std::ops::Range;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde_json::Value;

/// The longest text that a template may produce, in bytes.
pub const MAX_OUTPUT: usize = 4 << 20;
/// How many instructions a template may execute; a loop over 2,000 items takes some 20,000.
const FUEL: u64 = 1_000_000;
const NAME: &str = "template";

/// A compiled template; compile once, render often.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Environment<'static>,
}

/// Why a template cannot be compiled or rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {name}: {message}{}", line.map(|line| format!(" in line {line}")).unwrap_or_default())]
pub struct TemplateError {
    /// What the caller calls the template.
    pub name: String,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The bytes of the template that are meant.
    pub range: Option<Range<usize>>,
    /// What is wrong.
    pub message: String,
    /// Whether a variable is not there.
    pub undefined: bool,
}

impl Template {
    /// Compiles a template. The name is for messages only.
    pub fn compile(name: &str, source: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_syntax(syntax().map_err(|error| describe(name, &error))?);
        environment.set_debug(true);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(64);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| describe(name, &error))?;
        Ok(Self { environment })
    }

    /// Renders the template with an object of variables.
    pub fn render(&self, name: &str, variables: &Value) -> Result<String, TemplateError> {
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|error| describe(name, &error))?;
        let mut out = Bounded(Vec::new());
        let rendered = template.render_captured_to(Serde(variables), &mut out);
        if let Err(error) = rendered {
            return Err(if out.0.len() >= MAX_OUTPUT {
                too_long(name)
            } else {
                describe(name, &error)
            });
        }
        String::from_utf8(out.0).map_err(|_| too_long(name))
    }
}

/// Compiles and renders a template that is needed once.
pub fn render(name: &str, source: &str, variables: &Value) -> Result<String, TemplateError> {
    Template::compile(name, source)?.render(name, variables)
}

fn syntax() -> Result<SyntaxConfig, minijinja::Error> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
}

/// A buffer that refuses to grow beyond [`MAX_OUTPUT`].
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            self.0.resize(MAX_OUTPUT, b' ');
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn too_long(name: &str) -> TemplateError {
    TemplateError {
        name: name.to_owned(),
        line: None,
        range: None,
        message: format!("the text is longer than {MAX_OUTPUT} bytes"),
        undefined: false,
    }
}

fn describe(name: &str, error: &minijinja::Error) -> TemplateError {
    let kind = error.kind();
    let message = match (kind, error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps".to_owned(),
        (ErrorKind::UndefinedError, None) => "undefined variable".to_owned(),
        (ErrorKind::TemplateNotFound, _) => "templates cannot use other templates".to_owned(),
        (_, Some(detail)) => format!("{kind}: {detail}"),
        (_, None) => kind.to_string(),
    };
    TemplateError {
        name: name.to_owned(),
        line: error.line(),
        range: error.range(),
        message,
        undefined: kind == ErrorKind::UndefinedError,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use serde_json::json;

    fn failure(source: &str) -> (Option<usize>, String) {
        let error = render("t", source, &json!({"a": 1, "s": {}})).unwrap_err();
        (error.line, error.message)
    }

    #[test]
    fn a_template_sees_its_variables_and_nothing_is_escaped() {
        let source = "{% for x in xs %}\n- {{ x }}\n{% endfor %}\n{{ none_ }}";
        let variables = json!({"xs": ["<a>", "{{ b }}"], "none_": null});
        assert_eq!(render("t", source, &variables).unwrap(), "- <a>\n- {{ b }}\nNone");
    }

    #[test]
    fn what_is_undefined_is_an_error_in_its_line() {
        let error = render("t", "x\n{{ s.nam }}", &json!({"s": {}})).unwrap_err();
        assert_eq!((error.line, error.undefined), (Some(2), true));
        assert_eq!(error.range, Some(5..10));
    }

    #[test]
    fn hostile_templates_end() {
        let loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
        assert_eq!(failure(loops).1, "it takes too many steps");
        let long = "{% for a in range(9999) %}{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 99 }}{% endfor %}";
        assert_eq!(
            failure(long).1,
            format!("the text is longer than {MAX_OUTPUT} bytes")
        );
        assert_eq!(
            failure("{% include 'other' %}").1,
            "templates cannot use other templates"
        );
        assert!(render("t", "{% include 'template' %}", &json!({})).is_err());
        assert!(render("t", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", &json!({})).is_err());
    }

    #[test]
    fn syntax_errors_have_a_line() {
        assert_eq!(failure("a\n{{ a").0, Some(2));
    }
}
