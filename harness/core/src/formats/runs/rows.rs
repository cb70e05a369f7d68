//! Rows of files of runs, whether CSV or JSON Lines, with the places of their cells.
//!
//! Owns: taking lines apart, and finding a cell again for a message. Must not: know what a cell means.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::super::reader::Reader;
use super::super::source::Span;
use super::super::tree::quoted;
use super::columns::{self, Column, Named, READ};

/// How many columns a row may have.
const MAX_COLUMNS: usize = 500;

/// A row: the cells of the columns that are read. An empty cell, and JSON's null, is none.
pub(super) struct Row<'a> {
    pub(super) at: Span,
    cells: Cells<'a>,
    layout: Layout<'a>,
}

/// Cells by column: whether there is one, and what is in it.
#[derive(Default)]
struct Cells<'a>([Cell<'a>; READ]);

#[derive(Default)]
enum Cell<'a> {
    #[default]
    Absent,
    Empty,
    Text(Cow<'a, str>),
}

/// How a cell is found in the text.
#[derive(Clone, Copy)]
enum Layout<'a> {
    Csv(&'a Header),
    Json,
}

/// The first row of a CSV file.
struct Header {
    at: Span,
    columns: Vec<Named>,
}

impl Row<'_> {
    pub(super) fn text(&self, column: Column) -> Option<&str> {
        match &self.cells.0[column as usize] {
            Cell::Text(text) => Some(text),
            Cell::Absent | Cell::Empty => None,
        }
    }

    /// Returns whether the row has the column, even if nothing is in it.
    pub(super) fn has(&self, column: Column) -> bool {
        !matches!(self.cells.0[column as usize], Cell::Absent)
    }

    /// Returns the place of a cell; without one, that of the header or of the row.
    pub(super) fn span(&self, column: Column, text: &str) -> Span {
        match self.layout {
            Layout::Csv(header) => {
                let mut columns = header.columns.iter();
                let at = columns.position(|named| *named == Named::Read(column));
                at.map_or(header.at, |at| csv_cell(text, self.at, at).unwrap_or(self.at))
            }
            Layout::Json => {
                let mut spellings = column.spellings();
                let found = spellings.find_map(|name| json_value(text, self.at, name));
                found.unwrap_or(self.at)
            }
        }
    }
}

/// Reads the rows and hands them on; problems of form are reported.
pub(super) fn each(text: &str, reader: &mut Reader<'_>, mut then: impl FnMut(&Row<'_>, &mut Reader<'_>)) {
    if text.trim_start().starts_with('{') {
        json_lines(text, reader, &mut then);
    } else {
        csv_rows(text, reader, &mut then);
    }
}

fn csv_rows(text: &str, reader: &mut Reader<'_>, then: &mut dyn FnMut(&Row<'_>, &mut Reader<'_>)) {
    let mut rows = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut record = csv::StringRecord::new();
    let mut header: Option<Header> = None;
    loop {
        match rows.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => return reader.whole_file(&format!("not valid CSV: {error}"), None),
        }
        let at = row_span(text, &record);
        if record.len() > MAX_COLUMNS {
            let message = format!(
                "{} cells are more than the {MAX_COLUMNS} that are read",
                record.len()
            );
            return reader.error(at, message, None);
        }
        let Some(header) = &header else {
            header = Some(read_header(text, &record, at, reader));
            if !reader.problems.is_empty() {
                return;
            }
            continue;
        };
        if record.len() != header.columns.len() {
            let message = format!(
                "{} cells, expected {} as in the first row",
                record.len(),
                header.columns.len()
            );
            reader.error(at, message, Some("put cells with commas or quotes into quotes"));
            continue;
        }
        let mut cells = Cells::default();
        for (named, cell) in header.columns.iter().zip(&record) {
            if let Named::Read(column) = named {
                cells.0[*column as usize] = match cell.trim() {
                    "" => Cell::Empty,
                    text => Cell::Text(Cow::Borrowed(text)),
                };
            }
        }
        then(
            &Row {
                at,
                cells,
                layout: Layout::Csv(header),
            },
            reader,
        );
    }
}

fn read_header(text: &str, record: &csv::StringRecord, row: Span, reader: &mut Reader<'_>) -> Header {
    let mut seen = BTreeSet::new();
    let mut columns = Vec::new();
    for (at, name) in record.iter().enumerate() {
        let name = name.trim();
        let span = || csv_cell(text, row, at).unwrap_or(row);
        let mut named = columns::find(name);
        if named == Named::Unknown {
            let hint = columns::hint(name);
            reader.error(span(), format!("unknown column {}", quoted(name)), Some(&hint));
        } else if !seen.insert(name.to_owned()) {
            reader.error(span(), format!("a second column {}", quoted(name)), None);
        }
        // `score_cont` is read and `score` is not where a file has both.
        if let Named::Read(column) = named
            && name != column.name()
            && record.iter().any(|other| other.trim() == column.name())
        {
            named = Named::Other;
        }
        columns.push(named);
    }
    Header { at: row, columns }
}

/// Returns where a record stands, without the blank lines before it that the parser skips.
fn row_span(text: &str, record: &csv::StringRecord) -> Span {
    let start = record.position().map_or(0, csv::Position::byte);
    let start = usize::try_from(start).unwrap_or(text.len()).min(text.len());
    let blank = text.as_bytes()[start..]
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'));
    let start = start + blank.count();
    let length = text.as_bytes()[start..]
        .iter()
        .take_while(|byte| !matches!(byte, b'\r' | b'\n'));
    Span {
        start,
        end: start + length.count(),
    }
}

/// Finds a cell of a CSV record by its number, quotes included.
fn csv_cell(text: &str, row: Span, number: usize) -> Option<Span> {
    let bytes = text.as_bytes();
    let (mut start, mut at, mut quoted) = (row.start, row.start, false);
    let mut found = 0;
    loop {
        let byte = bytes.get(at).copied();
        match byte {
            Some(b'"') => quoted = !quoted,
            Some(b',' | b'\r' | b'\n') | None if !quoted || byte.is_none() => {
                if found == number {
                    return Some(Span { start, end: at });
                }
                if byte != Some(b',') {
                    return None;
                }
                found += 1;
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
}

fn json_lines(text: &str, reader: &mut Reader<'_>, then: &mut dyn FnMut(&Row<'_>, &mut Reader<'_>)) {
    let mut told = BTreeSet::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let at = Span {
            start,
            end: start + line.trim_end().len(),
        };
        start += line.len();
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str::<Object>(line) {
            Ok(object) => {
                if let Some(cells) = json_cells(&object, text, at, &mut told, reader) {
                    then(
                        &Row {
                            at,
                            cells,
                            layout: Layout::Json,
                        },
                        reader,
                    );
                }
            }
            Err(error) => {
                // The line and column in the message would be those within this line.
                let message = error.to_string();
                let message = message.split(" at line ").next().unwrap_or_default();
                // An object that does not end is told at the place after the line break.
                let column = if error.line() > 1 {
                    usize::MAX
                } else {
                    error.column()
                };
                let length = at.end - at.start;
                let place = Span::at(at.start + column.saturating_sub(1).min(length.saturating_sub(1)));
                reader.error(
                    place,
                    format!("not a JSON object: {message}"),
                    Some("one object a line"),
                );
            }
        }
    }
}

fn json_cells<'a>(
    object: &Object,
    text: &str,
    at: Span,
    told: &mut BTreeSet<String>,
    reader: &mut Reader<'_>,
) -> Option<Cells<'a>> {
    let mut cells = Cells::default();
    let mut seen = Vec::new();
    let mut sound = true;
    for (key, value) in &object.0 {
        let span = || json_value(text, at, key).unwrap_or(at);
        let named = columns::find(key);
        if named == Named::Unknown {
            sound = false;
            // A wrong key is in every line.
            if told.insert(key.clone()) {
                let hint = columns::hint(key);
                reader.error(span(), format!("unknown column {}", quoted(key)), Some(&hint));
            }
        } else if seen.contains(key) {
            sound = false;
            reader.error(at, format!("a second {}", quoted(key)), None);
        }
        seen.push(key.clone());
        let Named::Read(column) = named else { continue };
        let cell = match value {
            Value::Null => Cell::Empty,
            Value::String(text) if text.trim().is_empty() => Cell::Empty,
            Value::String(text) => Cell::Text(Cow::Owned(text.trim().to_owned())),
            Value::Number(number) => Cell::Text(Cow::Owned(number.to_string())),
            Value::Bool(bool) => Cell::Text(Cow::Owned(bool.to_string())),
            Value::Array(_) | Value::Object(_) => {
                sound = false;
                let message = format!("{} is a list or an object, expected one value", quoted(key));
                reader.error(span(), message, None);
                continue;
            }
        };
        // `score_cont` is read before `score` where a row has both.
        let place = &mut cells.0[column as usize];
        if key == column.name() || matches!(place, Cell::Absent) {
            *place = cell;
        }
    }
    sound.then_some(cells)
}

/// Finds the value of a key of the object in a line.
fn json_value(text: &str, row: Span, key: &str) -> Option<Span> {
    let line = text.get(row.start..row.end)?;
    let bytes = line.as_bytes();
    let (mut depth, mut at) = (0_u32, 0);
    let mut begun: Option<usize> = None;
    while let Some(byte) = bytes.get(at).copied() {
        let end_of_value = matches!((byte, depth), (b',' | b'}', 1));
        if let (Some(start), true) = (begun, end_of_value) {
            let value = line.get(start..at)?;
            let blank = value.len() - value.trim_start().len();
            let (start, end) = (
                row.start + start + blank,
                row.start + start + value.trim_end().len(),
            );
            return Some(Span { start, end });
        }
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => {
                let end = string_end(bytes, at);
                let rest = line.get(end + 1..)?.trim_start();
                let is_key = depth == 1 && begun.is_none() && rest.starts_with(':');
                if is_key && line.get(at + 1..end) == Some(key) {
                    begun = Some(line.len() - rest.len() + 1);
                    at = line.len() - rest.len() + 1;
                    continue;
                }
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Returns where the string ends that begins at a quote.
fn string_end(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    bytes.len().saturating_sub(1)
}

/// An object with its keys as they stand, so that a second one is seen.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if entries.len() == MAX_COLUMNS {
                        return Err(A::Error::custom(format!("more than {MAX_COLUMNS} keys")));
                    }
                    entries.push(entry);
                }
                Ok(Object(entries))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

#[cfg(test)]
mod tests {
    use super::{Span, csv_cell, json_value};
    use pretty_assertions::assert_eq;

    #[test]
    fn cells_are_found_again() {
        let csv = "x\na,\"b, \"\"c\"\"\n\",,d\ne";
        let row = Span { start: 2, end: 14 };
        let shown = |number| csv_cell(csv, row, number).map(|span| &csv[span.start..span.end]);
        let found = [0, 1, 2, 3, 4].map(shown);
        assert_eq!(
            found,
            [Some("a"), Some("\"b, \"\"c\"\"\n\""), Some(""), Some("d"), None]
        );

        let json = r#"{"k\"":1,"a": {"b": 2}, "b" : "x,\"}" ,"c":[1,{"d":2}]}"#;
        let row = Span {
            start: 0,
            end: json.len(),
        };
        let shown = |key| json_value(json, row, key).map(|span| &json[span.start..span.end]);
        let found = ["a", "b", "c", "d", "x"].map(shown);
        assert_eq!(
            found,
            [
                Some(r#"{"b": 2}"#),
                Some(r#""x,\"}""#),
                Some(r#"[1,{"d":2}]"#),
                None,
                None
            ]
        );
        assert_eq!(json_value("{\"a", Span { start: 0, end: 3 }, "a"), None);
    }
}
