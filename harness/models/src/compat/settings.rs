//! What a client needs to know about a server.
//!
//! Owns: defaults per provider and checks of addresses. Must not: look a key up.

use std::time::Duration;

use harness_core::model::{ModelSpec, ProviderKind};
use reqwest::Url;
use secrecy::SecretString;

/// The longest pause within a body unless settings say otherwise.
pub const DEFAULT_STALL_TIMEOUT: Duration = Duration::from_mins(1);

const OPENAI_URL: &str = "https://api.openai.com/v1";

/// A server, a model on it, and how to talk to it.
#[derive(Clone, Debug)]
pub struct CompatSettings {
    /// The address before `/chat/completions`, such as `http://localhost:8000/v1`.
    pub base_url: String,
    /// The name of the model that the server knows.
    pub model: String,
    /// The key; servers of one's own often need none.
    pub key: Option<SecretString>,
    /// Whether replies are streamed.
    pub stream: bool,
    /// Where servers differ.
    pub dialect: Dialect,
    /// The longest pause within a body.
    pub stall_timeout: Duration,
}

/// Where servers differ in what they accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI itself: the length of an answer is `max_completion_tokens`; arguments of earlier tool calls are
    /// sent back as the model wrote them.
    Openai,
    /// Other servers: the length is `max_tokens`. Many feed arguments of earlier calls through a JSON parser and
    /// refuse the whole conversation if one is wrong, so text that is no JSON object goes back as
    /// `{"malformed_arguments": text}`.
    Compat,
}

impl CompatSettings {
    /// Builds settings from a suite's model and its key, if there is one.
    ///
    /// # Errors
    /// The provider is not spoken to in this way, or an address is missing.
    pub fn from_spec(spec: &ModelSpec, key: Option<SecretString>) -> Result<Self, SettingsError> {
        let (default_url, dialect) = match spec.reference.provider {
            ProviderKind::Openai => (Some(OPENAI_URL), Dialect::Openai),
            ProviderKind::Compat => (None, Dialect::Compat),
            ProviderKind::Anthropic
            | ProviderKind::Google
            | ProviderKind::Torch
            | ProviderKind::Scripted
            | ProviderKind::Replay => {
                return Err(SettingsError::OtherProvider {
                    model: spec.reference.to_string(),
                });
            }
        };
        let base_url = spec.base_url.as_deref().or(default_url);
        let base_url = base_url.ok_or_else(|| SettingsError::NoBaseUrl {
            model: spec.reference.to_string(),
        })?;
        Ok(Self {
            base_url: base_url.to_owned(),
            model: spec
                .remote_name
                .clone()
                .unwrap_or_else(|| spec.reference.name.clone()),
            key,
            stream: spec.stream,
            dialect,
            stall_timeout: DEFAULT_STALL_TIMEOUT,
        })
    }

    /// Returns the address of chat completions. A query (`?api-version=...`) stays.
    pub(super) fn endpoint(&self) -> Result<Url, SettingsError> {
        let bad = |problem: &'static str| SettingsError::BadBaseUrl { problem };
        let mut url = Url::parse(self.base_url.trim())
            .map_err(|_| bad("is not a URL, expected one such as `http://localhost:8000/v1`"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("must begin with `http://` or `https://`"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(
                "must not contain a user or password, give the key on its own",
            ));
        }
        url.set_fragment(None);
        url.path_segments_mut()
            .map_err(|()| bad("has no host"))?
            .pop_if_empty()
            .extend(["chat", "completions"]);
        Ok(url)
    }
}

/// Why a client can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The provider speaks another language.
    #[error("model `{model}` is not served over chat completions, expected `openai/NAME` or `compat/NAME`")]
    OtherProvider {
        /// The model.
        model: String,
    },
    /// There is no address.
    #[error("model `{model}` has no `base_url`, give one such as `http://localhost:8000/v1`")]
    NoBaseUrl {
        /// The model.
        model: String,
    },
    /// The address can't be used.
    #[error("`base_url` {problem}")]
    BadBaseUrl {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The key can't be sent.
    #[error("the key of model `{model}` holds characters that can't be sent, check where it comes from")]
    BadKey {
        /// The model.
        model: String,
    },
    /// HTTPS can't be spoken on this machine.
    #[error("no certificates for https on this machine, install `ca-certificates`: {detail}")]
    NoCertificates {
        /// What the system said.
        detail: String,
    },
    /// The HTTP library can't start.
    #[error("the HTTP client can't start: {detail}")]
    Http {
        /// What it said.
        detail: String,
    },
}
