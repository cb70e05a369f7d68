//! Figures and how they are printed.
//!
//! Owns: the JSON lines that scripts rely on. Must not: measure.

use serde_json::{Value, json};

/// How figures are printed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    /// For people.
    Table,
    /// One object a line.
    Json,
}

/// Which values are good.
#[derive(Clone, Copy, Debug)]
pub(super) enum Better {
    Lower,
    Higher,
}

/// One figure.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// The group.
    pub(super) group: &'static str,
    /// Its name, which scripts rely on.
    pub(super) name: &'static str,
    /// The median.
    pub(super) value: f64,
    /// Its unit.
    pub(super) unit: &'static str,
    /// Which values are good.
    pub(super) better: Better,
    /// What can't be beaten, where that is known.
    pub(super) floor: Option<f64>,
    /// Another program and its value for the same work.
    pub(super) peer: Option<(String, f64)>,
}

impl Row {
    /// Returns a figure that is good when low, with nothing beside it.
    pub(super) fn lower(group: &'static str, name: &'static str, value: f64, unit: &'static str) -> Self {
        Self {
            group,
            name,
            value,
            unit,
            better: Better::Lower,
            floor: None,
            peer: None,
        }
    }

    /// Puts a floor beside it.
    pub(super) fn with_floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    /// Puts a peer beside it.
    pub(super) fn with_peer(mut self, peer: Option<(String, f64)>) -> Self {
        self.peer = peer;
        self
    }

    /// Returns ours over the peer's, or over the floor without a peer.
    fn ratio(&self) -> Option<f64> {
        let beside = self.peer.as_ref().map(|(_, value)| *value).or(self.floor)?;
        (beside > 0.0).then(|| self.value / beside)
    }

    fn to_json(&self) -> Value {
        json!({
            "group": self.group,
            "name": self.name,
            "value": rounded(self.value),
            "unit": self.unit,
            "better": match self.better { Better::Lower => "lower", Better::Higher => "higher" },
            "floor": self.floor.map(rounded),
            "peer": self.peer.as_ref().map(|(name, _)| name),
            "peer_value": self.peer.as_ref().map(|(_, value)| rounded(*value)),
            "ratio": self.ratio().map(rounded),
        })
    }
}

/// Prints figures as they come.
#[derive(Debug)]
pub(super) struct Printer {
    style: Style,
    rows: usize,
}

impl Printer {
    pub(super) fn new(style: Style) -> Self {
        Self { style, rows: 0 }
    }

    pub(super) fn print(&mut self, row: &Row) {
        match self.style {
            Style::Json => println!("{}", row.to_json()),
            Style::Table => self.print_line(row),
        }
        self.rows += 1;
    }

    fn print_line(&self, row: &Row) {
        if self.rows == 0 {
            let (name, value, floor, peer) = ("figure", "value", "floor", "peer");
            println!("{name:<32}{value:>12}  {:<8}{floor:>10}{peer:>12}", "unit");
        }
        let better = match row.better {
            Better::Lower => "lower is better",
            Better::Higher => "higher is better",
        };
        let name = format!("{}.{}", row.group, row.name);
        let floor = row.floor.map_or_else(|| "-".to_owned(), shown);
        let (peer, whose) = match &row.peer {
            Some((name, value)) => (shown(*value), format!(", peer is {name}")),
            None => ("-".to_owned(), String::new()),
        };
        let (value, unit) = (shown(row.value), row.unit);
        println!("{name:<32}{value:>12}  {unit:<8}{floor:>10}{peer:>12}  {better}{whose}");
    }
}

/// Returns the middle of several values; of an even number, the mean of the two in the middle.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle.wrapping_sub(1)), values.get(middle)) {
        (Some(below), Some(above)) if values.len().is_multiple_of(2) => f64::midpoint(*below, *above),
        (_, Some(value)) => *value,
        (_, None) => f64::NAN,
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

fn shown(value: f64) -> String {
    format!("{value:.3}")
}

#[cfg(test)]
mod tests {
    use super::{Row, median};

    #[test]
    fn the_median_is_the_middle() {
        let cases: [(&[f64], f64); 4] = [
            (&[3.0], 3.0),
            (&[3.0, 1.0], 2.0),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[4.0, 1.0, 3.0, 2.0], 2.5),
        ];
        for (values, expected) in cases {
            assert_eq!(median(values.iter().copied()).to_bits(), expected.to_bits());
        }
        assert!(median([]).is_nan());
    }

    #[test]
    fn a_line_has_every_key() {
        let row = Row::lower("core", "delayed_1000x5_s", 2.75, "s");
        let row = row
            .with_floor(2.5)
            .with_peer(Some(("Inspect AI".to_owned(), 40.0)));
        assert_eq!(
            row.to_json().to_string(),
            r#"{"group":"core","name":"delayed_1000x5_s","value":2.75,"unit":"s","better":"lower","floor":2.5,"peer":"Inspect AI","peer_value":40.0,"ratio":0.0688}"#
        );
    }
}
