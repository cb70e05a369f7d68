//! Makes the clients of a suite's models, and collects the secrets that must never be logged.

use std::path::Path;
use std::sync::Arc;

use harness_core::model::{KeySource, ModelSpec, ProviderKind};
use harness_core::ports::ModelClient;
use harness_models::compat::{CompatClient, CompatSettings, HttpClient};
use harness_models::scripted::ScriptedModel;
use harness_store::Scrubber;
use secrecy::{ExposeSecret as _, SecretString};

use crate::exit::Failure;

/// The clients of a suite and what keeps their keys out of every file.
pub(crate) struct Clients {
    pub(crate) models: Vec<Arc<dyn ModelClient>>,
    pub(crate) scrubber: Scrubber,
}

/// Makes the clients, in the order of the suite's models. `base` is the folder that scripts are relative to.
pub(crate) fn clients(models: &[ModelSpec], base: &Path) -> Result<Clients, Failure> {
    let mut made: Vec<Arc<dyn ModelClient>> = Vec::with_capacity(models.len());
    let mut secrets = Vec::new();
    let mut http = None;
    for model in models {
        if model.reference.provider == ProviderKind::Scripted {
            made.push(Arc::new(scripted(model, base)?));
        } else {
            let key = key_of(model)?;
            secrets.extend(key.as_ref().map(|key| key.expose_secret().to_owned()));
            made.push(Arc::new(compat(model, key, &mut http)?));
        }
    }
    let scrubber = Scrubber::new(secrets.iter().filter(|secret| secret.len() >= 6));
    let scrubber =
        scrubber.map_err(|error| Failure::input(format!("a key can't be kept out of the logs: {error}")))?;
    Ok(Clients {
        models: made,
        scrubber,
    })
}

fn scripted(model: &ModelSpec, base: &Path) -> Result<ScriptedModel, Failure> {
    let name = Path::new(&model.reference.name);
    let path = if base.join(name).is_file() {
        base.join(name)
    } else {
        name.to_path_buf()
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let message = format!("failed to read the scripted model {}: {error}", path.display());
        Failure::input(message)
            .hint("a scripted model is named scripted/FILE, relative to the suite's folder")
    })?;
    ScriptedModel::parse(&text, &path.display().to_string()).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::input(format!(
            "the scripted model has {} problem(s)\n{}",
            lines.len(),
            lines.join("\n")
        ))
    })
}

fn compat(
    model: &ModelSpec,
    key: Option<SecretString>,
    http: &mut Option<HttpClient>,
) -> Result<CompatClient, Failure> {
    let failed = |error| Failure::input(format!("model `{}`: {error}", model.id));
    let http = match http {
        Some(http) => http.clone(),
        None => http.insert(HttpClient::new().map_err(failed)?).clone(),
    };
    let settings = CompatSettings::from_spec(model, key).map_err(failed)?;
    CompatClient::new(settings, &http).map_err(failed)
}

/// Reads a key from where the suite says. A source that is named and empty is an error: calls without a key would
/// fail much later.
fn key_of(model: &ModelSpec) -> Result<Option<SecretString>, Failure> {
    let text = match &model.key {
        None => return Ok(None),
        Some(KeySource::Env(name)) => std::env::var(name).map_err(|_| {
            Failure::input(format!(
                "model `{}`: the environment variable {name} is not set",
                model.id
            ))
            .hint(format!("export {name}=..., or use key_file"))
        })?,
        Some(KeySource::File(path)) => std::fs::read_to_string(path).map_err(|error| {
            Failure::input(format!(
                "model `{}`: failed to read the key file {path}: {error}",
                model.id
            ))
        })?,
    };
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(Failure::input(format!("model `{}`: the key is empty", model.id)));
    }
    Ok(Some(SecretString::from(text)))
}
