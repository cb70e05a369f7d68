//! `prices.yaml`: what tokens and compute cost, and since when.
//!
//! Owns: its shape. Must not: guess a price.

use std::collections::BTreeMap;

use super::file::{check_version, conclude, utf8};
use super::models::PriceWire;
use super::problem::Parsed;
use super::reader::Reader;
use super::tree::{parse, quoted};
use super::wire::{At, Keyed, Text, Wire, record};
use crate::model::{ModelRef, Price};
use crate::units::Usd;

/// Prices as they were at a date. What is not in it is unknown, never free.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PriceList {
    /// The day on which they were looked up, `YYYY-MM-DD`.
    pub date: String,
    /// Of a million tokens, by model.
    pub models: BTreeMap<ModelRef, Price>,
    /// Of an hour of compute, by machine.
    pub compute: BTreeMap<String, Usd>,
}

record! {
    /// The price of a model.
    Entry {
        /// What the model is: `provider/name`.
        reference = "use": required ModelRef,
        /// Dollars for a million tokens.
        price: required PriceWire,
    }
}

record! {
    /// What tokens and compute cost.
    Prices {
        /// The version of the format.
        harness: required u32,
        /// The day on which the prices were looked up.
        date: required Text,
        /// Prices of models.
        models: optional Vec<At<Entry>>,
        /// Dollars for an hour of compute, by the machine's name.
        compute: optional Keyed<Usd>,
    }
}

/// Reads and checks `prices.yaml`.
pub fn parse_prices(path: &str, bytes: &[u8]) -> Parsed<PriceList> {
    let text = utf8(path, bytes)?;
    let mut reader = Reader::new(path, text);
    let prices = parse(&mut reader)
        .and_then(|node| Prices::read(&node, &mut reader))
        .and_then(|wire| decode(&wire, &mut reader));
    conclude(prices, reader.finish())
}

fn decode(wire: &Prices, reader: &mut Reader<'_>) -> Option<PriceList> {
    check_version(wire.harness.as_ref(), reader);
    if let Some(date) = wire.date.as_ref().filter(|date| !is_date(&date.value.0)) {
        let message = format!("{} is not a date", quoted(&date.value.0));
        reader.error(date.span, message, Some("write it like `2026-03-01`"));
    }
    let mut models = BTreeMap::new();
    for entry in wire.models.iter().flat_map(|at| &at.value) {
        let (Some(reference), Some(price)) =
            (&entry.reference, entry.price.as_ref().and_then(|at| at.price()))
        else {
            continue;
        };
        if models.insert(reference.value.clone(), price).is_some() {
            let message = format!("a second price of {}", quoted(&reference.value.to_string()));
            reader.error(reference.span, message, Some("keep one of them"));
        }
    }
    Some(PriceList {
        date: wire.date.as_ref()?.value.0.clone(),
        models,
        compute: wire
            .compute
            .iter()
            .flat_map(|at| &at.value.0)
            .map(|(key, usd)| (key.text.clone(), usd.value))
            .collect(),
    })
}

fn is_date(text: &str) -> bool {
    crate::units::Timestamp::parse(&format!("{text}T00:00:00Z")).is_some() && text.len() == 10
}
