//! Server-sent events, as far as chat completions need them.
//!
//! Owns: lines, comments and fields of an event stream, however its bytes are split. Must not: know JSON.

/// Turns pieces of an event stream into the data of its events.
#[derive(Debug, Default)]
pub(super) struct SseParser {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    after_cr: bool,
    lines: u64,
}

impl SseParser {
    /// Takes the next bytes and returns the data of each event that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
                self.line.extend_from_slice(rest);
                break;
            };
            self.line.extend_from_slice(&rest[..end]);
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            events.extend(self.end_line());
        }
        events
    }

    /// Ends the stream. Servers forget the empty line after the last event, so it counts nevertheless.
    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if !self.line.is_empty()
            && let Some(event) = self.end_line()
        {
            return Some(event);
        }
        self.data
    }

    fn end_line(&mut self) -> Option<Vec<u8>> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if self.lines == 0 {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        self.lines += 1;
        if line.is_empty() {
            return self.data.take();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        if field == b"data" {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;
    use proptest::prelude::*;

    fn parse(pieces: &[&[u8]]) -> Vec<String> {
        let mut parser = SseParser::default();
        let mut events: Vec<_> = pieces.iter().flat_map(|piece| parser.push(piece)).collect();
        events.extend(parser.finish());
        events
            .iter()
            .map(|data| String::from_utf8_lossy(data).into_owned())
            .collect()
    }

    #[test]
    fn events_are_found() {
        let cases: [(&[u8], &[&str]); 9] = [
            (b"data: a\n\ndata: b\n\n", &["a", "b"]),
            (b"data:a\r\n\r\ndata:  b\r\r", &["a", " b"]),
            (b": comment\n\nevent: x\nid: 1\ndata: a\n\n", &["a"]),
            (b"data: a\ndata: b\n\n", &["a\nb"]),
            (b"data\n\n", &[""]),
            (b"data: [DONE]", &["[DONE]"]),
            (b"data: a\n", &["a"]),
            ("\u{feff}data: ä\n\n".as_bytes(), &["ä"]),
            (b"datax: a\n\n\n\n", &[]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse(&[bytes]), expected, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn splits_do_not_matter(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("data: ".to_owned()), Just("\r".to_owned()), Just("\n".to_owned()), Just("\r\n".to_owned()),
                    Just(": ".to_owned()), Just("ä€😀".to_owned()), Just("\u{feff}".to_owned()), ".{0,5}",
                ],
                0..30,
            ),
            size in 1_usize..7,
        ) {
            let bytes = pieces.concat().into_bytes();
            let split: Vec<_> = bytes.chunks(size).collect();
            prop_assert_eq!(parse(&split), parse(&[&bytes]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1_usize..9) {
            let split: Vec<_> = bytes.chunks(size).collect();
            prop_assert_eq!(parse(&split), parse(&[&bytes]));
        }
    }
}
