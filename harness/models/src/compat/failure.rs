//! What a failed call means.
//!
//! Owns: status, headers and error bodies -> [`ModelError`]. Must not: read from a socket.

use std::time::{Duration, SystemTime};

use harness_core::model::ModelError;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::redact::Redactor;

/// The longest wait that a provider may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

const QUOTA_CODES: [&str; 4] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
];
const POLICY_CODES: [&str; 8] = [
    "content_policy_violation",
    "content_policy",
    "content_filter",
    "usage_policy_violation",
    "moderation_blocked",
    "ResponsibleAIPolicyViolation",
    "data_inspection_failed",
    "invalid_prompt",
];
const LENGTH_CODES: [&str; 4] = [
    "context_length_exceeded",
    "exceed_context_size_error",
    "string_above_max_length",
    "context_window_exceeded",
];
/// What servers without codes say of a conversation that does not fit.
const LENGTH_WORDS: [&str; 7] = [
    "maximum context length",
    "max_model_len",
    "context window",
    "context size",
    "context length",
    "prompt is too long",
    "input is too long",
];

/// A failure as the server told it.
pub(super) struct Failure {
    /// The HTTP status, or one like it from within a body.
    pub(super) status: u16,
    /// When the server wants to be asked again.
    pub(super) retry_after: Option<Duration>,
    /// What it says.
    pub(super) told: Told,
}

/// An error body.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    message: Option<String>,
    codes: Vec<String>,
    param: Option<String>,
}

impl Told {
    /// Reads an error body in any of the forms that servers use; what is not JSON becomes the message.
    pub(super) fn from_body(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::from_value(&value),
            Err(_) => Self {
                message: Some(String::from_utf8_lossy(body).into_owned()),
                ..Self::default()
            },
        }
    }

    /// Reads an error object: `{"error": {...}}`, `{"error": "..."}`, `{"message": ...}` or `{"detail": ...}`.
    pub(super) fn from_value(value: &Value) -> Self {
        let error = value.get("error").unwrap_or(value);
        let text = |keys: &[&str]| {
            keys.iter()
                .find_map(|key| error.get(key).and_then(Value::as_str))
                .map(str::to_owned)
        };
        let codes = ["/code", "/type", "/innererror/code"];
        Self {
            message: error
                .as_str()
                .map(str::to_owned)
                .or_else(|| text(&["message", "detail"]))
                .or_else(|| Some(value.to_string())),
            codes: codes
                .iter()
                .filter_map(|pointer| error.pointer(pointer)?.as_str())
                .map(str::to_owned)
                .collect(),
            param: text(&["param"]),
        }
    }

    /// Returns the status that an error object within a body carries as its code.
    pub(super) fn status_in(value: &Value) -> Option<u16> {
        let code = ["/error/code", "/code", "/error/status", "/status"];
        code.iter()
            .find_map(|pointer| match value.pointer(pointer)? {
                Value::Number(number) => number.as_u64(),
                Value::String(text) => text.parse().ok(),
                _ => None,
            })
            .and_then(|status| u16::try_from(status).ok())
            .filter(|status| (400..600).contains(status))
    }

    /// Returns the status that the codes stand for; a failure that says nothing is one of the server.
    pub(super) fn implied_status(&self) -> u16 {
        if self.has_code(&QUOTA_CODES) || self.has_code(&["rate_limit_exceeded", "rate_limit_error"]) {
            429
        } else if self.has_code(&["invalid_api_key", "authentication_error"]) {
            401
        } else if self.has_code(&POLICY_CODES)
            || self.has_code(&LENGTH_CODES)
            || self.has_code(&["invalid_request_error", "model_not_found"])
        {
            400
        } else {
            500
        }
    }

    fn has_code(&self, known: &[&str]) -> bool {
        self.codes.iter().any(|code| known.contains(&code.as_str()))
    }

    fn speaks_of_length(&self) -> bool {
        let message = self.message.as_deref().unwrap_or_default().to_lowercase();
        self.has_code(&LENGTH_CODES) || LENGTH_WORDS.iter().any(|words| message.contains(words))
    }
}

impl Failure {
    /// Decides what a failure means.
    pub(super) fn meaning(&self, redactor: &Redactor) -> ModelError {
        let Self {
            status,
            retry_after,
            told,
        } = self;
        let detail = self.detail(redactor);
        match status {
            402 => ModelError::QuotaSpent { detail },
            429 if told.has_code(&QUOTA_CODES) => ModelError::QuotaSpent { detail },
            429 => ModelError::RateLimited {
                retry_after: *retry_after,
            },
            408 | 500.. => ModelError::Overloaded {
                status: *status,
                retry_after: *retry_after,
            },
            400..=499 if told.has_code(&POLICY_CODES) => ModelError::ContentPolicy { detail },
            401 | 403 => ModelError::Authentication { detail },
            404 => ModelError::UnknownModel { detail },
            400 if told.has_code(&["model_not_found"]) => ModelError::UnknownModel { detail },
            400 | 413 | 422 if told.speaks_of_length() => ModelError::ContextTooLong { detail },
            300..=399 => ModelError::BadRequest {
                detail: format!("status {status}: the server redirects, check `base_url`"),
            },
            _ => ModelError::BadRequest { detail },
        }
    }

    fn detail(&self, redactor: &Redactor) -> String {
        let message = redactor.excerpt(self.told.message.as_deref().unwrap_or_default());
        let message = if message.is_empty() {
            "nothing said"
        } else {
            &message
        };
        match self.told.param.as_deref().filter(|param| !param.is_empty()) {
            Some(param) => {
                let param: String = redactor.excerpt(param).chars().take(60).collect();
                format!("status {}, field `{param}`: {message}", self.status)
            }
            None => format!("status {}: {message}", self.status),
        }
    }
}

/// Reads when a server wants to be asked again: `retry-after-ms`, or `Retry-After` in seconds or as a date.
/// A date counts from the server's own `Date`, so that a clock that is off does not matter.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
    let seconds = |text: &str, unit: f64| {
        let seconds = text.parse::<f64>().ok()? * unit;
        Duration::try_from_secs_f64(seconds).ok()
    };
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let millis = text("retry-after-ms").and_then(|text| seconds(text, 1e-3));
    let wait = millis.or_else(|| {
        let text = text(RETRY_AFTER.as_str())?;
        seconds(text, 1.0).or_else(|| {
            let now = headers
                .get(reqwest::header::DATE)
                .and_then(|value| date(value.to_str().ok()?))
                .unwrap_or(now);
            Some(date(text)?.duration_since(now).unwrap_or_default())
        })
    })?;
    Some(wait.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    type Pairs<'a> = &'a [(&'static str, &'a str)];

    fn meaning(status: u16, body: &str) -> ModelError {
        let failure = Failure {
            status,
            retry_after: None,
            told: Told::from_body(body.as_bytes()),
        };
        failure.meaning(&Redactor::new(Some("sk-secret")))
    }

    #[test]
    fn every_status_has_one_meaning() {
        let cases = [
            (429, "{}", "rate limited by the provider"),
            (
                429,
                r#"{"error": {"message": "pay", "code": "insufficient_quota"}}"#,
                "quota spent: status 429: pay",
            ),
            (402, r#"{"error": "pay"}"#, "quota spent: status 402: pay"),
            (
                401,
                r#"{"error": {"message": "no sk-secret here"}}"#,
                "authentication failed: status 401: no *** here",
            ),
            (403, "", "authentication failed: status 403: nothing said"),
            (
                404,
                r#"{"detail": "Not Found"}"#,
                "unknown model: status 404: Not Found",
            ),
            (404, "<h1>nginx</h1>", "unknown model: status 404: <h1>nginx</h1>"),
            (
                400,
                r#"{"error": {"message": "x", "code": "model_not_found"}}"#,
                "unknown model: status 400: x",
            ),
            (
                400,
                r#"{"error": {"message": "too much", "code": "context_length_exceeded", "param": "messages"}}"#,
                "context too long: status 400, field `messages`: too much",
            ),
            (
                400,
                r#"{"object": "error", "message": "This model's maximum context length is 9 tokens.", "code": 400}"#,
                "context too long: status 400: This model's maximum context length is 9 tokens.",
            ),
            (
                400,
                r#"{"error": {"message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}"#,
                "blocked by the provider's policy: status 400: no",
            ),
            (
                422,
                r#"{"error": {"message": "too hot", "param": "temperature"}}"#,
                "bad request: status 422, field `temperature`: too hot",
            ),
            (
                302,
                "",
                "bad request: status 302: the server redirects, check `base_url`",
            ),
            (408, "", "provider overloaded or failing (status 408)"),
            (500, "<html>", "provider overloaded or failing (status 500)"),
            (529, "{}", "provider overloaded or failing (status 529)"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(meaning(status, body).to_string(), expected, "{status} {body}");
        }
    }

    #[test]
    fn waits_are_read_in_every_form() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let later = "Sun, 06 Nov 1994 08:50:07 GMT";
        let now = httpdate::parse_http_date(later).unwrap() - Duration::from_secs(7);
        let cases: [(Pairs, Option<Duration>); 9] = [
            (&[("retry-after", "3")], Some(Duration::from_secs(3))),
            (&[("retry-after", "0.5")], Some(Duration::from_millis(500))),
            (
                &[("retry-after", "3"), ("retry-after-ms", "250")],
                Some(Duration::from_millis(250)),
            ),
            (&[("retry-after", later)], Some(Duration::from_secs(7))),
            (
                &[("retry-after", later), ("date", date)],
                Some(Duration::from_secs(30)),
            ),
            (&[("retry-after", date)], Some(Duration::ZERO)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "1e300")], None),
            (&[("retry-after", "999999999")], Some(MAX_RETRY_AFTER)),
        ];
        for (pairs, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(retry_after(&headers, now), expected, "{pairs:?}");
        }
    }
}
