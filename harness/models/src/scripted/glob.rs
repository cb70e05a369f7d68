//! `*` and `?` in names.
//!
//! Owns: matching a name. Must not: know paths.

/// Tells whether a name fits a pattern in which `*` is any text and `?` any character.
/// Takes time in the product of both lengths at worst.
pub(super) fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(c), _) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            (_, Some((after, from))) => {
                star = Some((after, from + 1));
                p = after + 1;
                n = from + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn globs_fit() {
        let yes = [
            ("", ""),
            ("*", ""),
            ("a*", "a"),
            ("a*c", "abcbc"),
            ("*a?", "xaä"),
            ("**b", "ab"),
            ("a-*", "a-b"),
        ];
        let no = [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*c", "abcb"),
            ("*a?", "xa"),
            ("A", "a"),
            ("a", "ab"),
        ];
        assert!(yes.iter().all(|(pattern, name)| fits(pattern, name)));
        assert!(!no.iter().any(|(pattern, name)| fits(pattern, name)));
    }
}
