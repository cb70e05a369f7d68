//! Which ports are listened to, out of the kernel's tables.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// How often the tables are read.
const PAUSE: Duration = Duration::from_millis(300);
/// How much of a table is read; listeners come first in it.
const LONGEST_TABLE: u64 = 1 << 20;
/// The most ports that are named.
const MOST_PORTS: usize = 1000;
/// The state of a socket that listens.
const LISTEN: &str = "0A";

/// Watches for ports.
#[derive(Debug, Default)]
pub(crate) struct PortWatch {
    next: Option<Instant>,
    said: Option<Vec<u16>>,
}

impl PortWatch {
    /// Starts to watch, and to say what is there now.
    pub(crate) fn start(&mut self) {
        self.next = Some(Instant::now());
        self.said = None;
    }

    /// Returns when to look next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Looks if it is time to; returns the ports if they have changed.
    pub(crate) fn look(&mut self, now: Instant) -> Option<Vec<u16>> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.next = now.checked_add(PAUSE);
        let tables = [read("/proc/net/tcp"), read("/proc/net/tcp6")];
        let ports: BTreeSet<u16> = tables.iter().flat_map(|table| listened(table)).collect();
        let ports: Vec<u16> = ports.into_iter().take(MOST_PORTS).collect();
        if self.said.as_ref() == Some(&ports) {
            return None;
        }
        self.said = Some(ports.clone());
        Some(ports)
    }
}

fn read(path: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = std::fs::File::open(path) {
        let _ = file.take(LONGEST_TABLE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the ports of a table that are listened to at addresses other than loopback ones.
fn listened(table: &str) -> impl Iterator<Item = u16> {
    table.lines().filter_map(port_of)
}

fn port_of(line: &str) -> Option<u16> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    if state != LISTEN || is_loopback(address_of(address)?) {
        return None;
    }
    u16::from_str_radix(port, 16).ok().filter(|port| *port > 0)
}

/// Reads an address: words of four bytes, each written as a number of this machine.
fn address_of(text: &str) -> Option<IpAddr> {
    if !matches!(text.len(), 8 | 32) {
        return None;
    }
    let mut bytes = Vec::new();
    for word in text.as_bytes().chunks(8) {
        let word = u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    const HEADER: &str =
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

    #[test]
    fn only_what_others_reach_is_found() {
        let rest = "00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0";
        let zero = "00000000000000000000000000000000";
        let cases = [
            ("00000000:1F90", "00000000:0000 0A", vec![8080]),
            ("0100007F:1F90", "00000000:0000 0A", vec![]),
            ("FE01017F:0050", "00000000:0000 0A", vec![]),
            ("020011AC:0016", "00000000:0000 0A", vec![22]),
            ("00000000:1F90", "0100007F:C350 01", vec![]),
            (&format!("{zero}:01BB"), &format!("{zero}:0000 0A"), vec![443]),
            (
                "00000000000000000000000001000000:01BB",
                &format!("{zero}:0000 0A"),
                vec![],
            ),
            (
                "0000000000000000FFFF00000100007F:01BB",
                &format!("{zero}:0000 0A"),
                vec![],
            ),
            (
                "0000000000000000FFFF0000020011AC:01BB",
                &format!("{zero}:0000 0A"),
                vec![443],
            ),
        ];
        for (local, remote, expected) in cases {
            let table = format!("{HEADER}   0: {local} {remote} {rest}\n");
            assert_eq!(listened(&table).collect::<Vec<_>>(), expected, "{local}");
        }
    }

    #[test]
    fn nonsense_is_nothing() {
        for line in [
            "",
            "x",
            "0: 00000000:1F90",
            "0: 00000000 1 0A",
            "0: 0000:1F90 1 0A",
            "0: ZZZZZZZZ:1F90 1 0A",
            "0: 00000000:1F900 1 0A",
            "0: \u{e9}\u{e9}\u{e9}\u{e9}:1F90 1 0A",
        ] {
            assert_eq!(listened(line).count(), 0, "{line}");
        }
    }
}
