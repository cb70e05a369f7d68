//! The layers of the repository hold: no crate knows one above it or beside it, and `core` stays pure.
//!
//! Owns: which crate is on which floor. Must not: build anything; it reads what cargo says of the manifests.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Crates by floor. A crate may know those of lower floors only.
const FLOORS: [&[&str]; 3] = [
    &["harness-core", "harness-guest"],
    &[
        "harness-report",
        "harness-store",
        "harness-docker",
        "harness-models",
        "harness-torch",
        "harness-runner",
    ],
    &["harness-cli", "harness"],
];
/// Crates that are no part of the product: nothing may know them, and they know none of ours.
const OUTSIDE: [&str; 1] = ["xtask"];
/// Edges between crates of one floor: who, whom, why.
const BESIDE: [(&str, &str, &str); 1] = [(
    "harness-docker",
    "harness-guest",
    "speaks to the helper in a sandbox",
)];
/// What `core` may not depend on: it decides, and leaves doing to others. It may draw numbers from a seed, but not from
/// the system: see `core_draws_from_seeds_only`.
const IMPURE: [&str; 21] = [
    "async-std",
    "async-trait",
    "bollard",
    "chrono",
    "fs-err",
    "futures",
    "futures-util",
    "getrandom",
    "hyper",
    "jiff",
    "libc",
    "mio",
    "nix",
    "reqwest",
    "rustix",
    "smol",
    "tempfile",
    "tokio",
    "tokio-util",
    "ureq",
    "walkdir",
];
/// Dependencies of a crate's tests are free, those of what it builds are not.
const TESTS_ONLY: &str = "dev";

/// What a crate depends on: name and kind (`null`, `build` or `dev`).
type Dependencies = BTreeMap<String, Vec<(String, String)>>;

#[test]
fn crates_know_only_lower_floors() {
    let problems = problems(&dependencies());
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn core_is_pure() {
    let all = dependencies();
    let Some(core) = all.get("harness-core") else {
        panic!("harness-core is a member of the workspace")
    };
    let impure: Vec<&String> = core
        .iter()
        .filter(|(name, kind)| kind != TESTS_ONLY && IMPURE.contains(&name.as_str()))
        .map(|(name, _)| name)
        .collect();
    assert!(
        impure.is_empty(),
        "core must not depend on {impure:?}; an adapter has to"
    );
}

#[test]
fn core_draws_from_seeds_only() {
    let packages = packages();
    let core = packages.iter().find(|package| package["name"] == "harness-core");
    let edges = core.and_then(|core| core["dependencies"].as_array());
    let drawing = |edge: &&Value| edge["kind"].is_null() && edge["name"].as_str().is_some_and(draws);
    let found: Vec<&Value> = edges.into_iter().flatten().filter(drawing).collect();
    assert!(!found.is_empty(), "then this test can go");
    for edge in found {
        let features = edge["features"].as_array().map_or(0, Vec::len);
        assert_eq!(
            (edge["uses_default_features"].as_bool(), features),
            (Some(false), 0),
            "{} has a generator of the system's behind its features",
            edge["name"]
        );
    }
}

fn draws(name: &str) -> bool {
    name.starts_with("rand")
}

#[test]
fn forbidden_edges_are_found() {
    let edge = |from: &str, to: &str, kind: &str| {
        let mut all = Dependencies::new();
        all.insert(from.to_owned(), vec![(to.to_owned(), kind.to_owned())]);
        all.entry(to.to_owned()).or_default();
        problems(&all)
    };
    let allowed = [
        edge("harness", "harness-core", "null"),
        edge("harness", "harness-docker", "null"),
        edge("harness-docker", "harness-guest", "null"),
        edge("harness-runner", "harness-core", "null"),
        edge("harness-runner", "harness-store", "dev"),
    ];
    assert_eq!(allowed, [(); 5].map(|()| Vec::<String>::new()));
    let forbidden = [
        edge("harness-core", "harness-runner", "null"),
        edge("harness-runner", "harness-store", "null"),
        edge("harness-store", "harness", "null"),
        edge("harness-guest", "harness-core", "null"),
        edge("harness-core", "harness", "dev"),
        edge("harness", "xtask", "build"),
        edge("xtask", "harness-core", "null"),
    ];
    for problems in forbidden {
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
    assert_eq!(
        problems(&Dependencies::from([("harness-new".to_owned(), Vec::new())])),
        ["harness-new is on no floor; give it one in tests/layers.rs"]
    );
}

/// Returns what is wrong with the edges between our own crates.
fn problems(all: &Dependencies) -> Vec<String> {
    let mut problems = Vec::new();
    for (from, dependencies) in all {
        let outside = OUTSIDE.contains(&from.as_str());
        if floor(from).is_none() && !outside {
            problems.push(format!("{from} is on no floor; give it one in tests/layers.rs"));
        }
        for (to, kind) in dependencies.iter().filter(|(to, _)| all.contains_key(to)) {
            if outside || OUTSIDE.contains(&to.as_str()) {
                problems.push(format!("{from} -> {to}: xtask stands outside the product"));
            } else if !allowed(from, to, kind) {
                problems.push(format!(
                    "{from} -> {to}: a crate may know only those of lower floors"
                ));
            }
        }
    }
    problems
}

fn allowed(from: &str, to: &str, kind: &str) -> bool {
    let beside = BESIDE.iter().any(|(who, whom, _)| (*who, *whom) == (from, to));
    // A test may put two neighbours together, but nobody may look up.
    let (from, to) = (floor(from), floor(to));
    beside || to < from || (kind == TESTS_ONLY && to == from && from != Some(0))
}

fn floor(name: &str) -> Option<usize> {
    FLOORS.iter().position(|crates| crates.contains(&name))
}

/// Asks cargo for the members of the workspace and what each depends on.
fn dependencies() -> Dependencies {
    packages().iter().map(of_package).collect()
}

#[expect(
    clippy::expect_used,
    reason = "a helper of tests, in which a failure should panic"
)]
fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .arg("--manifest-path")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    packages.clone()
}

fn of_package(package: &Value) -> (String, Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or("null").to_owned();
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    let edges = dependencies.map(|edge| (text(&edge["name"]), text(&edge["kind"])));
    (text(&package["name"]), edges.collect())
}
