//! The entries of `models` in a suite and in `models.yaml`, and prices.
//!
//! Owns: their shape. Must not: read keys.

use std::time::Duration;

use serde_json::{Value, json};

use super::file::{check_version, conclude, utf8};
use super::problem::Parsed;
use super::reader::Reader;
use super::suggest;
use super::tree::{Node, parse, quoted};
use super::wire::{At, Definitions, Id, Text, Wire, record, text};
use crate::ids::ModelId;
use crate::model::{KeySource, ModelRef, ModelSpec, Price, ProviderKind};
use crate::units::Usd;

record! {
    /// Dollars for a million tokens.
    PriceWire {
        /// Input tokens.
        input: required Usd,
        /// Input tokens read from a prompt cache; as `input` if left out.
        cached_input: optional Usd,
        /// Output tokens, reasoning included.
        output: required Usd,
    }
}

impl PriceWire {
    pub(super) fn price(&self) -> Option<Price> {
        let input = self.input.as_ref()?.value;
        Some(Price {
            input,
            cached_input: self.cached_input.as_ref().map_or(input, |at| at.value),
            output: self.output.as_ref()?.value,
        })
    }
}

record! {
    /// A model.
    ModelWire {
        /// Its name within the suite.
        id: optional Id,
        /// What it is: `provider/name`.
        reference = "use": required ModelRef,
        /// What a helper does, such as judge; leave it out for a model that is evaluated.
        role: optional Id,
        /// Where an OpenAI-compatible server listens.
        base_url: optional Text,
        /// The environment variable that holds the key.
        key_env: optional Text,
        /// The file that holds the key.
        key_file: optional Text,
        /// The name that the server knows, if another.
        remote_name: optional Text,
        /// Whether replies are streamed.
        stream: optional bool,
        /// The longest wait for one whole answer; ten minutes if left out.
        call_timeout: optional Duration,
        /// Dollars for a million tokens; unknown if left out.
        price: optional PriceWire,
    }
}

record! {
    /// Models by what they are, for all suites.
    ModelsWire {
        /// The version of the format.
        harness: required u32,
        /// The models.
        models: required Vec<At<ModelWire>>,
    }
}

impl Wire for ModelRef {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let scalar = text("a model such as `openai/NAME`", node, reader)?;
        let names = ProviderKind::ALL.map(ProviderKind::name);
        let Some((provider, name)) = scalar.text.split_once('/').filter(|(_, name)| !name.is_empty()) else {
            let hint = format!("write `PROVIDER/NAME`, with a provider of {}", names.join(", "));
            reader.error(
                node.span,
                format!("{} is not `provider/name`", quoted(&scalar.text)),
                Some(&hint),
            );
            return None;
        };
        let kind = ProviderKind::ALL.into_iter().find(|kind| kind.name() == provider);
        if kind.is_none() {
            let hint = suggest::hint(provider, names);
            reader.error(
                node.span,
                format!("unknown provider {}", quoted(provider)),
                Some(&hint),
            );
        }
        if name.chars().any(char::is_control) {
            reader.error(node.span, "a model's name has no control characters", None);
        }
        Some(Self {
            provider: kind?,
            name: name.to_owned(),
        })
    }

    fn schema(_: &mut Definitions) -> Value {
        let names = ProviderKind::ALL.map(ProviderKind::name).join("|");
        json!({"type": "string", "pattern": format!("^({names})/.+$")})
    }
}

/// Decodes a model; without an id it is named by its reference.
pub(super) fn model(wire: &ModelWire, reader: &mut Reader<'_>) -> Option<ModelSpec> {
    if let Some(url) = &wire.base_url {
        check_url(url, reader);
    }
    let key = key(wire, reader);
    let reference = wire.reference.as_ref()?;
    let provider = reference.value.provider;
    if let (Some(url), ProviderKind::Torch | ProviderKind::Scripted | ProviderKind::Replay) =
        (&wire.base_url, provider)
    {
        let message = format!("`base_url` has no meaning for {}", provider.name());
        reader.error(url.key, message, Some("remove it"));
    }
    let id = wire
        .id
        .as_ref()
        .map_or_else(|| reference.value.to_string(), |at| at.value.0.clone());
    Some(ModelSpec {
        id: ModelId::new(id),
        reference: reference.value.clone(),
        role: wire
            .role
            .as_ref()
            .map(|at| at.value.0.clone())
            .filter(|role| role != "subject"),
        base_url: wire.base_url.as_ref().map(|at| at.value.0.clone()),
        key,
        remote_name: wire.remote_name.as_ref().map(|at| at.value.0.clone()),
        stream: wire.stream.as_ref().is_none_or(|at| at.value),
        call_timeout: wire.call_timeout.as_ref().map(|at| at.value),
        price: wire.price.as_ref().and_then(|at| at.price()),
    })
}

fn key(wire: &ModelWire, reader: &mut Reader<'_>) -> Option<KeySource> {
    if let (Some(_), Some(second)) = (&wire.key_env, &wire.key_file) {
        reader.error(
            second.key,
            "both `key_env` and `key_file`",
            Some("keep one of them"),
        );
    }
    if let Some(name) = &wire.key_env {
        let text = name.value.0.as_str();
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && text.len() <= 64;
        if !plain || text.starts_with(|c: char| c.is_ascii_digit()) {
            // The value itself is not shown: somebody may have written the key here.
            let hint =
                "write the name of an environment variable, such as `OPENAI_API_KEY`; never the key itself";
            reader.secret(name.span, "`key_env` is not the name of a variable", hint);
        }
        return Some(KeySource::Env(text.to_owned()));
    }
    wire.key_file
        .as_ref()
        .map(|at| KeySource::File(at.value.0.clone()))
}

fn check_url(url: &At<Text>, reader: &mut Reader<'_>) {
    let text = url.value.0.as_str();
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let authority = host.and_then(|host| host.split('/').next()).unwrap_or_default();
    if authority.contains('@') {
        let hint = "name the key's variable with `key_env`";
        reader.secret(url.span, "a URL with a user or password", hint);
    } else if authority.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let message = format!("{} is not an http address", quoted(text));
        reader.error(
            url.span,
            message,
            Some("write it like `http://127.0.0.1:8000/v1`"),
        );
    }
}

/// Reads and checks `models.yaml`: addresses, keys and prices of models for all suites.
pub fn parse_models(path: &str, bytes: &[u8]) -> Parsed<Vec<ModelSpec>> {
    let text = utf8(path, bytes)?;
    let mut reader = Reader::new(path, text);
    let models = parse(&mut reader)
        .and_then(|node| ModelsWire::read(&node, &mut reader))
        .and_then(|wire| library(&wire, &mut reader));
    conclude(models, reader.finish())
}

fn library(wire: &ModelsWire, reader: &mut Reader<'_>) -> Option<Vec<ModelSpec>> {
    check_version(wire.harness.as_ref(), reader);
    let mut models: Vec<ModelSpec> = Vec::new();
    for entry in &wire.models.as_ref()?.value {
        let Some(model) = model(entry, reader) else {
            continue;
        };
        if models.iter().any(|earlier| earlier.reference == model.reference) {
            let message = format!("a second entry for {}", quoted(&model.reference.to_string()));
            reader.error(entry.span, message, Some("keep one of them"));
        }
        models.push(model);
    }
    Some(models)
}

/// Fills in what a suite leaves open about its models, from `models.yaml` and then from a price list.
pub fn complete_models(models: &mut [ModelSpec], library: &[ModelSpec], prices: &super::PriceList) {
    for model in models {
        if let Some(known) = library.iter().find(|known| known.reference == model.reference) {
            model.base_url = model.base_url.take().or_else(|| known.base_url.clone());
            model.key = model.key.take().or_else(|| known.key.clone());
            model.remote_name = model.remote_name.take().or_else(|| known.remote_name.clone());
            model.stream &= known.stream;
            model.call_timeout = model.call_timeout.or(known.call_timeout);
            model.price = model.price.or(known.price);
        }
        model.price = model
            .price
            .or_else(|| prices.models.get(&model.reference).copied());
    }
}
