use proptest::prelude::*;

use super::*;

fn table(counts: &[&[u64]]) -> Confusion {
    Confusion::new(counts.iter().map(|row| row.to_vec()).collect()).unwrap()
}

fn kappa(table: &Confusion, weights: Weights) -> Kappa {
    cohen_kappa(table, weights, Level::P95).unwrap()
}

fn close(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance
}

/// Kappa, its standard error and that under chance, from statsmodels' `cohens_kappa` (0.15).
#[test]
fn kappa_agrees_with_statsmodels() {
    let small = table(&[&[7, 1, 0], &[1, 6, 1], &[0, 1, 3]]);
    let large = table(&[&[20, 5, 2, 0], &[4, 15, 6, 1], &[1, 3, 12, 5], &[0, 2, 4, 18]]);
    let cases = [
        (
            &small,
            Weights::None,
            0.6875,
            0.139_583_545_893_417,
            0.162_980_060_130_066,
        ),
        (
            &small,
            Weights::Linear,
            0.75,
            0.115_074_703_997_012,
            0.173_205_080_756_888,
        ),
        (
            &small,
            Weights::Quadratic,
            0.821_428_571_428_571,
            0.086_872_920_318_549,
            0.223_606_797_749_979,
        ),
        (
            &large,
            Weights::None,
            0.550_770_940_408_39,
            0.063_457_824_380_287,
            0.058_297_210_905_667,
        ),
        (
            &large,
            Weights::Linear,
            0.683_923_255_044_657,
            0.051_369_981_295_017,
            0.073_063_080_439_283,
        ),
        (
            &large,
            Weights::Quadratic,
            0.794_945_433_658_676,
            0.043_490_222_129_348,
            0.100_901_397_029_756,
        ),
    ];
    for (table, weights, value, standard_error, chance) in cases {
        let found = kappa(table, weights);
        assert!(close(found.estimate.value, value, 1e-12), "{weights:?} {found:?}");
        assert!(
            close(found.standard_error, standard_error, 1e-12),
            "{weights:?} {found:?}"
        );
        assert!(
            close(found.standard_error_if_chance, chance, 1e-12),
            "{weights:?} {found:?}"
        );
    }
}

/// Standard errors from irrCAC (Python), which divides by one unit less than Gwet's large-sample variance does.
#[test]
fn the_variance_of_ac1_agrees_with_irrcac() {
    let cases = [
        (table(&[&[7, 1, 0], &[1, 6, 1], &[0, 1, 3]]), 0.705_88, 0.135_64),
        (
            table(&[&[20, 5, 2, 0], &[4, 15, 6, 1], &[1, 3, 12, 5], &[0, 2, 4, 18]]),
            0.551_18,
            0.064_02,
        ),
        (table(&[&[90, 4], &[4, 2]]), 0.909_83, 0.033_16),
    ];
    for (table, value, standard_error) in cases {
        let found = gwet_ac1(&table, Level::P95).unwrap();
        let n = table.units() as f64;
        let half = (found.value - found.interval.lower) / 1.959_963_985 * (n / (n - 1.0)).sqrt();
        assert!(
            close(found.value, value, 1e-5) && close(half, standard_error, 1e-5),
            "{found:?}"
        );
    }
}

/// Labels of 4 labellers for 25 units; alpha by the `krippendorff` package, Fleiss' kappa of the 11 complete units by
/// statsmodels, the linearised standard error of alpha by irrCAC.
const LABELS: [&str; 4] = [
    "...21.1020010000000201200",
    "2..211.01100110000.201200",
    "..01.21..0021100010.0.20.",
    "..02110020.111000.0101200",
];

fn ratings(lines: &[&str]) -> Ratings {
    let lines: Vec<Vec<Option<usize>>> = lines
        .iter()
        .map(|line| {
            let labels = line.chars();
            labels
                .map(|c| c.to_digit(10).map(|digit| digit as usize))
                .collect()
        })
        .collect();
    Ratings::new(&lines, 3).unwrap()
}

#[test]
fn alpha_and_fleiss_agree_with_other_programs() {
    let ratings = ratings(&LABELS);
    let alpha = krippendorff_alpha(&ratings, Level::P95).unwrap();
    assert!(close(alpha.value, 0.549_539_794_260_963, 1e-12), "{alpha:?}");
    // 23 units have two labels or more.
    assert_eq!(alpha.units, 23);
    let t = 2.073_873;
    let standard_error = (alpha.interval.upper - alpha.interval.lower) / 2.0 / t;
    assert!(close(standard_error, 0.096_81, 0.01), "{standard_error}");
    let fleiss = fleiss_kappa(&ratings, Level::P95).unwrap();
    assert!(close(fleiss.value, 0.545_012_165_450_121, 1e-12), "{fleiss:?}");
    assert_eq!(fleiss.units, 11);
}

#[test]
fn few_units_that_agree_prove_little() {
    let table = table(&[&[3, 0], &[0, 2]]);
    for found in [
        kappa(&table, Weights::None).estimate,
        gwet_ac1(&table, Level::P95).unwrap(),
        pabak(&table, Level::P95).unwrap(),
        krippendorff_alpha(&ratings(&["00011", "00011"]), Level::P95).unwrap(),
        fleiss_kappa(&ratings(&["00011", "00011"]), Level::P95).unwrap(),
    ] {
        assert!(
            close(found.value, 1.0, 1e-12) && found.interval.lower < 0.3,
            "{found:?}"
        );
        assert!(close(found.interval.upper, 1.0, 1e-12), "{found:?}");
    }
    let many = kappa(&self::table(&[&[3_000, 0], &[0, 2_000]]), Weights::None).estimate;
    assert!(many.interval.lower > 0.99, "{many:?}");
}

#[test]
fn one_label_says_nothing_beyond_chance() {
    let same = table(&[&[9, 0], &[0, 0]]);
    assert_eq!(
        cohen_kappa(&same, Weights::None, Level::P95)
            .unwrap_err()
            .to_string(),
        "Cohen's kappa is undefined: only one label was ever used, so nothing can be told from chance"
    );
    assert!(krippendorff_alpha(&ratings(&["1111", "1111"]), Level::P95).is_err());
    assert!(fleiss_kappa(&ratings(&["1111", "1111"]), Level::P95).is_err());
    // The coefficients that don't compare with the labels' own frequencies still work.
    let ac1 = gwet_ac1(&same, Level::P95).unwrap();
    assert!(
        close(ac1.value, 1.0, 1e-12) && ac1.interval.lower < 0.8,
        "{ac1:?}"
    );
    // Without the one unit that has a second label, nothing is left to agree on.
    assert_eq!(
        krippendorff_alpha(&ratings(&["0001", "0000"]), Level::P95)
            .unwrap_err()
            .to_string(),
        "an interval for the agreement is undefined: without one of the units only one label is left; list the labels instead"
    );
}

#[test]
fn gaps_only_and_wrong_tables_are_refused() {
    let check = |error: StatsError, text: &str| assert_eq!(error.to_string(), text);
    let gaps = ratings(&["....", "...."]);
    check(
        krippendorff_alpha(&gaps, Level::P95).unwrap_err(),
        "Krippendorff's alpha needs at least 2 units with enough labels, found 0",
    );
    check(
        krippendorff_alpha(&ratings(&["01.", "..0"]), Level::P95).unwrap_err(),
        "Krippendorff's alpha needs at least 2 units with enough labels, found 0",
    );
    check(
        Ratings::new(&[vec![Some(0)]], 2).unwrap_err(),
        "agreement needs at least 2 labellers, found 1",
    );
    check(
        Ratings::new(&[vec![Some(0)], vec![]], 2).unwrap_err(),
        "labels of several labellers: 1 values beside 0",
    );
    check(
        Ratings::new(&[vec![Some(2)], vec![None]], 2).unwrap_err(),
        "a label must lie from 0 to 1, found 2",
    );
    check(
        Confusion::new(vec![vec![1]]).unwrap_err(),
        "the number of labels to choose from must lie from 2 to 1000, found 1",
    );
    check(
        Confusion::new(vec![vec![1, 2], vec![3]]).unwrap_err(),
        "rows and columns of a table of labels: 2 values beside 1",
    );
    check(
        Confusion::new(vec![vec![0, 0], vec![0, 0]]).unwrap_err(),
        "agreement needs at least 1 units with two labels, found 0",
    );
    check(
        Confusion::of_labels(&[0, 1], &[0], 2).unwrap_err(),
        "labels of two labellers: 2 values beside 1",
    );
    assert!(Confusion::new(vec![vec![u64::MAX, 1], vec![0, 0]]).is_err());
}

#[test]
fn huge_counts_keep_their_digits() {
    let few = table(&[&[90, 4], &[4, 2]]);
    let scale = 10_000_000_000_000;
    let many = table(&[&[90 * scale, 4 * scale], &[4 * scale, 2 * scale]]);
    for weights in [Weights::None, Weights::Linear, Weights::Quadratic] {
        let (few, many) = (kappa(&few, weights), kappa(&many, weights));
        assert!(close(few.estimate.value, many.estimate.value, 1e-12));
        assert!(close(
            few.standard_error,
            many.standard_error * (scale as f64).sqrt(),
            1e-9
        ));
    }
}

#[test]
fn two_labellers_without_gaps_tie_alpha_to_fleiss() {
    let found = ratings(&["0011201", "0112201"]);
    let alpha = krippendorff_alpha(&found, Level::P95).unwrap().value;
    let fleiss = fleiss_kappa(&found, Level::P95).unwrap().value;
    // alpha corrects for the number of labels: 1 - alpha = (1 - kappa) (n - 1) / n.
    assert!(close(1.0 - alpha, (1.0 - fleiss) * 13.0 / 14.0, 1e-12));
}

/// Returns the standard error of a function of the cells' shares by the delta method, with numeric slopes.
fn delta(counts: &[Vec<u64>], of: impl Fn(&[Vec<f64>]) -> f64) -> f64 {
    let n = counts.iter().flatten().sum::<u64>() as f64;
    let shares: Vec<Vec<f64>> = counts
        .iter()
        .map(|row| row.iter().map(|count| *count as f64 / n).collect())
        .collect();
    let (mut first, mut second) = (0.0, 0.0);
    for i in 0..shares.len() {
        for j in 0..shares.len() {
            let step = 1e-5;
            let at = |by: f64| {
                let mut moved = shares.clone();
                moved[i][j] += by;
                of(&moved)
            };
            let slope = (at(step) - at(-step)) / (2.0 * step);
            first += shares[i][j] * slope;
            second += shares[i][j] * slope * slope;
        }
    }
    ((second - first * first) / n).sqrt()
}

fn margins(shares: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>, f64) {
    let rows: Vec<f64> = shares.iter().map(|row| row.iter().sum()).collect();
    let columns = (0..shares.len())
        .map(|j| shares.iter().map(|row| row[j]).sum())
        .collect();
    let total = rows.iter().sum();
    (rows, columns, total)
}

fn tables() -> impl Strategy<Value = Vec<Vec<u64>>> {
    (2_usize..5).prop_flat_map(|q| prop::collection::vec(prop::collection::vec(1_u64..40, q), q))
}

proptest! {
    #[test]
    fn variances_are_those_of_the_delta_method(counts in tables()) {
        let confusion = Confusion::new(counts.clone()).unwrap();
        let q = counts.len();
        for weights in [Weights::None, Weights::Linear, Weights::Quadratic] {
            let expected = delta(&counts, |shares| {
                let (rows, columns, total) = margins(shares);
                let (mut po, mut pe) = (0.0, 0.0);
                for i in 0..q {
                    for j in 0..q {
                        po += weights.of(i, j, q) * shares[i][j] / total;
                        pe += weights.of(i, j, q) * rows[i] * columns[j] / (total * total);
                    }
                }
                (po - pe) / (1.0 - pe)
            });
            let found = kappa(&confusion, weights).standard_error;
            prop_assert!(close(found, expected, 1e-6 * (1.0 + expected)), "{weights:?} {found} {expected}");
        }
        let expected = delta(&counts, |shares| {
            let (rows, columns, total) = margins(shares);
            let po = (0..q).map(|i| shares[i][i]).sum::<f64>() / total;
            let pe = (0..q).map(|k| f64::midpoint(rows[k], columns[k]) / total).map(|m| m * (1.0 - m)).sum::<f64>()
                / (q - 1) as f64;
            (po - pe) / (1.0 - pe)
        });
        let found = gwet_ac1(&confusion, Level::P95).unwrap();
        let interval = found.interval;
        if interval.lower > -1.0 {
            let half = (found.value - interval.lower) / 1.959_963_984_540_054;
            prop_assert!(close(half, expected, 1e-6 * (1.0 + expected)), "{half} {expected}");
        }
    }

    #[test]
    fn labellers_and_labels_may_change_places(counts in tables()) {
        let q = counts.len();
        let of = |counts: Vec<Vec<u64>>| {
            let table = Confusion::new(counts).unwrap();
            [
                kappa(&table, Weights::None).estimate.value,
                kappa(&table, Weights::Linear).estimate.value,
                gwet_ac1(&table, Level::P95).unwrap().value,
                pabak(&table, Level::P95).unwrap().value,
            ]
        };
        let plain = of(counts.clone());
        let turned = of((0..q).map(|j| counts.iter().map(|row| row[j]).collect()).collect());
        // Turning the order of the labels round keeps distances, so weighted kappa stays too.
        let reversed = of(counts.iter().rev().map(|row| row.iter().rev().copied().collect()).collect());
        for (at, value) in plain.into_iter().enumerate() {
            prop_assert!(close(turned[at], value, 1e-12) && close(reversed[at], value, 1e-12));
        }
    }

    #[test]
    fn units_may_come_in_any_order(
        labels in prop::collection::vec((0_usize..3, 0_usize..3, prop::option::of(0_usize..3)), 4..30),
        shift in 1_usize..30,
    ) {
        let by = |labels: &[(usize, usize, Option<usize>)]| {
            let lists = [
                labels.iter().map(|l| Some(l.0)).collect(),
                labels.iter().map(|l| Some(l.1)).collect(),
                labels.iter().map(|l| l.2).collect(),
            ];
            krippendorff_alpha(&Ratings::new(&lists, 3).unwrap(), Level::P95)
        };
        let mut turned = labels.clone();
        turned.rotate_left(shift % labels.len());
        match (by(&labels), by(&turned)) {
            (Ok(a), Ok(b)) => {
                prop_assert!(close(a.value, b.value, 1e-12));
                prop_assert!(close(a.interval.lower, b.interval.lower, 1e-9));
                prop_assert!(a.value <= 1.0 && a.interval.lower <= a.value && a.value <= a.interval.upper);
            }
            (a, b) => prop_assert_eq!(a.is_err(), b.is_err()),
        }
    }
}
