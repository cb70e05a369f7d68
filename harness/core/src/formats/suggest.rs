//! Which known word somebody may have meant.
//!
//! Owns: the distance of words. Must not: know any word.

/// Returns the known word nearest to `word`, if one is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    let folded = fold(word);
    let limit = (folded.chars().count() / 3).max(1);
    let mut near: Vec<_> = known
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(steps, candidate)| *steps <= limit && *steps < candidate.chars().count())
        .collect();
    near.sort_by_key(|(steps, _)| *steps);
    match near[..] {
        // Of several that are equally near none is more likely than the others.
        [(first, _), (second, _), ..] if first == second => None,
        [(_, candidate), ..] => Some(candidate),
        [] => None,
    }
}

/// Returns `did you mean ...`, or what there is to choose from.
pub(super) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    if let Some(near) = nearest(word, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let words: Vec<_> = known
        .into_iter()
        .take(24)
        .map(|word| format!("`{word}`"))
        .collect();
    match words.len() {
        0 => "there is none".to_owned(),
        1 => format!("only {} is known here", words.concat()),
        _ => format!("known here: {}", words.join(", ")),
    }
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace(['-', ' '], "_")
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours, one step each.
fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut rows = [
        vec![0; right.len() + 1],
        (0..=right.len()).collect::<Vec<usize>>(),
        vec![0; right.len() + 1],
    ];
    for (i, a) in left.iter().enumerate() {
        let [before, last, row] = &mut rows;
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let mut steps = (last[j] + usize::from(a != b))
                .min(last[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *a == right[j - 1] && left[i - 1] == *b {
                steps = steps.min(before[j - 1] + 1);
            }
            row[j + 1] = steps;
        }
        rows.rotate_left(1);
    }
    rows[1][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["limits", "instructions", "time_limit", "id", "score"];
        let found = [
            "limts",
            "instuctions",
            "time-limit",
            "TimeLimt",
            "ids",
            "scroe",
            "zebra",
            "x",
            "tame_limit",
        ]
        .map(|word| nearest(word, known));
        assert_eq!(
            found,
            [
                Some("limits"),
                Some("instructions"),
                Some("time_limit"),
                Some("time_limit"),
                Some("id"),
                Some("score"),
                None,
                None,
                Some("time_limit")
            ]
        );
        assert_eq!(nearest("SL4", ["SL0", "SL1", "SL2"]), None);
    }
}
