//! The client: one HTTP exchange per call.
//!
//! Owns: connections, timeouts, caps. Must not: try again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use harness_core::model::{ModelError, ModelRequest, ModelResponse};
use harness_core::ports::{Later, ModelClient};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Response, Url};
use secrecy::ExposeSecret;

use super::answer::{Assembly, NotAnAnswer, WireAnswer};
use super::failure::{Failure, Told, retry_after};
use super::redact::Redactor;
use super::settings::{CompatSettings, SettingsError};
use super::sse::SseParser;
use super::{MAX_BODY, wire};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How much of an error body is read, and for how long.
const MAX_ERROR_BODY: usize = 64 << 10;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a finished stream is listened to, so that its connection can be used again.
const LINGER: Duration = Duration::from_millis(50);

/// The connections of a process; made once, shared by all clients, cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    /// Why HTTPS can't be spoken, if so.
    no_certificates: Option<Arc<str>>,
}

impl HttpClient {
    /// Makes a pool that trusts the certificates of the system, follows no redirect and uses no proxy.
    ///
    /// # Errors
    /// The HTTP library can't start. Missing certificates are reported where an HTTPS address is used.
    pub fn new() -> Result<Self, SettingsError> {
        let start = |error: &dyn std::error::Error| SettingsError::Http {
            detail: error.to_string(),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| start(&error))?;
        let (tls, no_certificates) = match rustls_platform_verifier::Verifier::new(provider) {
            Ok(verifier) => {
                let tls = tls
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier));
                (tls.with_no_client_auth(), None)
            }
            Err(error) => {
                let tls = tls.with_root_certificates(rustls::RootCertStore::empty());
                (tls.with_no_client_auth(), Some(error.to_string().into()))
            }
        };
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("harness/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| start(&error))?;
        Ok(Self {
            client,
            no_certificates,
        })
    }
}

/// Calls one model of one server.
pub struct CompatClient {
    http: HttpClient,
    settings: CompatSettings,
    endpoint: Url,
    headers: HeaderMap,
    redactor: Redactor,
}

impl CompatClient {
    /// Makes a client that uses the connections of `http`.
    ///
    /// # Errors
    /// The address or the key can't be used.
    pub fn new(settings: CompatSettings, http: &HttpClient) -> Result<Self, SettingsError> {
        let endpoint = settings.endpoint()?;
        if let (Some(problem), "https") = (&http.no_certificates, endpoint.scheme()) {
            return Err(SettingsError::NoCertificates {
                detail: problem.to_string(),
            });
        }
        let key = settings.key.as_ref().map(|key| key.expose_secret().trim());
        let key = key.filter(|key| !key.is_empty());
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| SettingsError::BadKey {
                    model: settings.model.clone(),
                })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let accept = if settings.stream {
            "text/event-stream, application/json"
        } else {
            "application/json"
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        Ok(Self {
            http: http.clone(),
            endpoint,
            headers,
            redactor: Redactor::new(key),
            settings,
        })
    }

    async fn exchange(&self, request: &ModelRequest) -> Result<ModelResponse, ModelError> {
        let body = wire::body(&self.settings, request).map_err(|error| ModelError::BadRequest {
            detail: format!("the request can't be written: {error}"),
        })?;
        let call = self.http.client.post(self.endpoint.clone());
        let sent = call.headers(self.headers.clone()).body(body).send().await;
        let response = sent.map_err(|error| self.broken(&error))?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let kind = content_type(&response);
        let body = Body::new(response, self.settings.stall_timeout);
        match kind.as_deref() {
            Some("text/event-stream") => self.streamed(body, request).await,
            None | Some("application/json") => self.whole(body, request).await,
            Some(kind) if kind.ends_with("+json") => self.whole(body, request).await,
            Some(kind) => Err(self.unreadable(kind, body).await),
        }
    }

    async fn whole(&self, mut body: Body, request: &ModelRequest) -> Result<ModelResponse, ModelError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.next(&mut body).await? {
            bytes.extend_from_slice(&piece);
        }
        let mut assembly = Assembly::default();
        self.take(&mut assembly, &bytes)?;
        self.finish(assembly, request, &bytes)
    }

    async fn streamed(&self, mut body: Body, request: &ModelRequest) -> Result<ModelResponse, ModelError> {
        let mut parser = SseParser::default();
        let mut assembly = Assembly::default();
        let mut last = Vec::new();
        while let Some(piece) = self.next(&mut body).await? {
            for event in parser.push(&piece) {
                if event == b"[DONE]" {
                    body.linger().await;
                    return self.finish(assembly, request, &last);
                }
                self.take(&mut assembly, &event)?;
                last = event;
            }
        }
        if let Some(event) = parser.finish().filter(|event| event != b"[DONE]") {
            // What a cut stream leaves behind may be half an event; without it the answer has no end either.
            match self.take(&mut assembly, &event) {
                Err(ModelError::Malformed { .. }) if assembly.is_finished() => {}
                taken => taken?,
            }
            last = event;
        }
        self.finish(assembly, request, &last)
    }

    fn take(&self, assembly: &mut Assembly, json: &[u8]) -> Result<(), ModelError> {
        let answer: WireAnswer = serde_json::from_slice(json)
            .map_err(|error| self.malformed(&format!("not the JSON of an answer ({error})"), json))?;
        if let Some(error) = answer.error.as_ref().filter(|error| !error.is_null()) {
            let value = serde_json::json!({ "error": error });
            let told = Told::from_value(&value);
            let failure = Failure {
                status: Told::status_in(&value).unwrap_or_else(|| told.implied_status()),
                retry_after: None,
                told,
            };
            return Err(failure.meaning(&self.redactor));
        }
        assembly
            .take(answer)
            .map_err(|NotAnAnswer(why)| self.malformed(&why, json))
    }

    fn finish(
        &self,
        assembly: Assembly,
        request: &ModelRequest,
        last: &[u8],
    ) -> Result<ModelResponse, ModelError> {
        assembly
            .finish(request.origin.turn, &request.sampling.stop)
            .map_err(|NotAnAnswer(why)| self.malformed(&why, last))
    }

    async fn next(&self, body: &mut Body) -> Result<Option<Vec<u8>>, ModelError> {
        match body.next().await {
            Ok(piece) => Ok(piece),
            Err(BodyError::Stalled(waited)) => Err(ModelError::Stalled { waited }),
            Err(BodyError::TooLong) => Err(ModelError::Malformed {
                detail: format!("the body is longer than {MAX_BODY} bytes"),
            }),
            Err(BodyError::Broken(error)) => Err(self.broken(&error)),
        }
    }

    /// Reads what an unsuccessful answer says, as far as it can be read in a moment.
    async fn refused(&self, response: Response) -> ModelError {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers(), SystemTime::now());
        let body = Body::new(response, ERROR_BODY_TIMEOUT).beginning().await;
        Failure {
            status,
            retry_after,
            told: Told::from_body(&body),
        }
        .meaning(&self.redactor)
    }

    async fn unreadable(&self, kind: &str, body: Body) -> ModelError {
        let kind = self.redactor.excerpt(kind);
        let beginning = body.beginning().await;
        self.malformed(
            &format!("content type `{kind}` where JSON was expected"),
            &beginning,
        )
    }

    fn malformed(&self, why: &str, bytes: &[u8]) -> ModelError {
        let (why, excerpt) = (self.redactor.excerpt(why), self.redactor.excerpt_bytes(bytes));
        let detail = if excerpt.is_empty() {
            format!("{why}: nothing came")
        } else {
            format!("{why}: {excerpt}")
        };
        ModelError::Malformed { detail }
    }

    fn broken(&self, error: &reqwest::Error) -> ModelError {
        let detail = if error.is_connect() && error.is_timeout() {
            format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())
        } else {
            self.redactor.excerpt(&root_cause(error))
        };
        ModelError::Connection { detail }
    }
}

impl ModelClient for CompatClient {
    fn complete<'a>(&'a self, request: &'a ModelRequest) -> Later<'a, Result<ModelResponse, ModelError>> {
        Box::pin(async move {
            tokio::time::timeout(request.timeout, self.exchange(request))
                .await
                .unwrap_or(Err(ModelError::Stalled {
                    waited: request.timeout,
                }))
        })
    }
}

/// A body that is being read: bounded in length, and in each pause once it has begun.
struct Body {
    response: Response,
    stall: Duration,
    read: usize,
}

enum BodyError {
    Stalled(Duration),
    TooLong,
    Broken(reqwest::Error),
}

impl Body {
    fn new(response: Response, stall: Duration) -> Self {
        Self {
            response,
            stall,
            read: 0,
        }
    }

    async fn next(&mut self) -> Result<Option<Vec<u8>>, BodyError> {
        let next = self.response.chunk();
        let piece = if self.read == 0 {
            next.await
        } else {
            tokio::time::timeout(self.stall, next)
                .await
                .map_err(|_| BodyError::Stalled(self.stall))?
        };
        let Some(piece) = piece.map_err(BodyError::Broken)? else {
            return Ok(None);
        };
        self.read += piece.len();
        if self.read > MAX_BODY {
            return Err(BodyError::TooLong);
        }
        Ok(Some(piece.to_vec()))
    }

    /// Returns the beginning of the body, or as much of it as comes in time.
    async fn beginning(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = async {
            while bytes.len() < MAX_ERROR_BODY
                && let Ok(Some(piece)) = self.next().await
            {
                bytes.extend_from_slice(&piece);
            }
        };
        // What came in time is enough.
        let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, read).await;
        bytes
    }

    /// Waits for the end of a body whose content is known to be over; an unread end would cost the connection.
    async fn linger(&mut self) {
        // Whether it came in time only decides if the connection is used again.
        let _ = tokio::time::timeout(LINGER, self.next()).await;
    }
}

fn content_type(response: &Response) -> Option<String> {
    let value = String::from_utf8_lossy(response.headers().get(CONTENT_TYPE)?.as_bytes()).into_owned();
    let kind = value.split(';').next().unwrap_or_default();
    Some(kind.trim().to_ascii_lowercase())
}

/// Returns what the innermost error says: the outer ones only repeat that sending failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
