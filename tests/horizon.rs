//! `harness horizon` on files of runs and on runs of ours.

use std::fmt::Write as _;
use std::path::Path;

use crate::util::{Context, EASY, Suite};

/// Two models on eight tasks of five families, one row for each model and task; `cheats` adds a column.
fn by_task(cheats: &str) -> String {
    let tasks = [
        ("read/a", 1, [6, 6]),
        ("read/b", 2, [6, 5]),
        ("build/a", 8, [5, 5]),
        ("build/b", 15, [6, 3]),
        ("find/a", 30, [4, 2]),
        ("prove/a", 60, [3, 2]),
        ("prove/b", 120, [3, 0]),
        ("port/a", 480, [1, 0]),
    ];
    let mut text =
        format!("alias,task_id,task_family,human_minutes,n_successes,n_runs,release_date{cheats}\n");
    for (task, minutes, successes) in tasks {
        let family = task.split('/').next().unwrap();
        let models = [("new", "2025-06-01"), ("old", "2024-01-15")]
            .into_iter()
            .zip(successes);
        for ((model, day), successes) in models {
            let _ = write!(text, "{model},{task},{family},{minutes},{successes},6,{day}");
            if !cheats.is_empty() {
                // The new model cheats on what takes two hours and more.
                let cheated = if model == "new" && minutes >= 120 {
                    successes
                } else {
                    0
                };
                let _ = write!(text, ",{cheated}");
            }
            text.push('\n');
        }
    }
    text
}

/// The same with one row for each run.
fn by_run() -> String {
    let mut text = "alias,task_id,task_family,human_minutes,score_binarized,run_id,release_date\n".to_owned();
    for row in by_task("").lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let successes: usize = cells[4].parse().unwrap();
        for run in 0..6 {
            let score = usize::from(run < successes);
            let _ = writeln!(text, "{},{score},{run},{}", cells[..4].join(","), cells[6]);
        }
    }
    text
}

#[test]
fn horizons_are_printed_with_what_it_takes_to_read_them() {
    let context = Context::new();
    context.write("runs.csv", &by_task(""));
    insta::assert_snapshot!(context.run("horizon runs.csv --draws 200").text);
}

#[test]
fn both_treatments_of_cheats_stand_side_by_side() {
    let context = Context::new();
    context.write("runs.csv", &by_task(",n_cheated"));
    insta::assert_snapshot!(context.run("horizon runs.csv --draws 0 --levels 50").text);
}

#[test]
fn rows_for_runs_and_rows_for_tasks_give_the_same_numbers() {
    let context = Context::new();
    context.write("a.csv", &by_task("")).write("b.csv", &by_run());
    let json = by_run();
    let mut lines = json.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let object = |line: &str| {
        let cells = names
            .iter()
            .zip(line.split(','))
            .map(|(name, cell)| match cell.parse::<f64>() {
                Ok(number) if *name != "run_id" => format!("\"{name}\": {number}"),
                _ => format!("\"{name}\": \"{cell}\""),
            });
        format!("{{{}}}\n", cells.collect::<Vec<_>>().join(", "))
    };
    // The order of rows is no matter either.
    let mut rows: Vec<String> = lines.map(object).collect();
    rows.reverse();
    context.write("c.jsonl", &rows.concat());
    let of = |file: &str| context.good(&format!("horizon {file} --csv --draws 50"));
    assert_eq!(of("a.csv"), of("b.csv"));
    assert_eq!(of("a.csv"), of("c.jsonl"));
}

#[test]
fn the_numbers_depend_on_the_seed_and_not_on_the_cores() {
    let context = Context::new();
    context.write("runs.csv", &by_task(""));
    let with = |threads: &str, seed: u32| {
        let args = format!("horizon runs.csv --draws 700 --json --seed {seed}");
        let mut command = context.command(args.split_whitespace());
        let output = command.env("RAYON_NUM_THREADS", threads).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let one = with("1", 42);
    assert_eq!(one, with("2", 42));
    assert_eq!(one, with("7", 42));
    assert_ne!(one, with("2", 43));
}

#[test]
fn programs_get_csv_and_json() {
    let context = Context::new();
    context.write("runs.csv", &by_task(""));
    let args =
        "horizon runs.csv --draws 100 --weights equal_task_weight --ridge 0.1 --levels 50,99.5 --seed 7";
    insta::assert_snapshot!("horizon_csv", context.run(&format!("{args} --csv")).text);
    let text = context.good(&format!("{args} --json"));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    // Other mathematical libraries differ in the last digits.
    let digits = regex::Regex::new(r"(\.\d{6})\d+").unwrap();
    let model = serde_json::to_string_pretty(&value["treatments"][0]["models"][1]).unwrap();
    insta::assert_snapshot!("horizon_json", digits.replace_all(&model, "$1"));
    assert_eq!(value["weights"], "equal_task_weight");
    assert_eq!(value["ridge"], 0.1);
    assert_eq!(value["treatments"][0]["trend"]["draws"], 98);
}

#[test]
fn a_trend_takes_days_from_the_file_or_from_another() {
    let context = Context::new();
    context.write("runs.csv", &by_task(""));
    context.write(
        "days.csv",
        "alias,release_date\nold,2023-01-15\nolder,2020-01-01\n",
    );
    let shown = context
        .run("horizon runs.csv --draws 100 --releases days.csv --after 2023-01-01")
        .text;
    let trend: Vec<&str> = shown
        .lines()
        .skip_while(|line| !line.starts_with("trend"))
        .take_while(|line| !line.is_empty())
        .chain(shown.lines().filter(|line| line.starts_with("warning")))
        .collect();
    insta::assert_snapshot!(trend.join("\n"));
    let shown = context.run("horizon runs.csv --draws 0 --before 2025-01-01").text;
    let line = shown.lines().find(|line| line.contains("none:")).unwrap();
    assert_eq!(
        line,
        "  none: a trend of horizons needs at least 2 models on different days, found 1"
    );
}

#[test]
fn bad_input_is_told_with_row_and_column() {
    let context = Context::new();
    context.write("empty.csv", "");
    context.write(
        "one.csv",
        "alias,task_id,task_family,human_minutes,n_successes,n_runs\nm,a,a,2,0,4\n",
    );
    context.write(
        "many.csv",
        "alias,task_id,task_family,human_minutes,n_successes,n_runs\nm,a,a,2h,-1,4\nm,b,b,30,5,4\nm,c,c,30,1,4\n",
    );
    context.write("days.csv", "alias,release_date\nm,2025-02-30\n");
    context.write("good.csv", &by_task(""));
    let shown = [
        "horizon empty.csv",
        "horizon one.csv",
        "horizon many.csv",
        "horizon nothing.csv",
        "horizon good.csv many.csv",
        "horizon good.csv --levels 100",
        "horizon good.csv --ridge -1",
        "horizon good.csv --draws 99999999",
        "horizon good.csv --after yesterday",
        "horizon good.csv --releases days.csv",
        "horizon good.csv --outcome score",
        "horizon .",
    ]
    .map(|args| format!("$ harness {args}\n{}", context.run(args).text));
    insta::assert_snapshot!(shown.join("\n"));
}

/// Tasks of three lengths; the scripted model always answers `blue`, so it solves every first sample.
fn ran() -> Context {
    let context = Context::new();
    for (id, minutes, family) in [
        ("short", "2", "colours"),
        ("middle", "30", "colours"),
        ("long", "240", "shades"),
    ] {
        let mut task = EASY.replace("id: easy", &format!("id: {id}"));
        task = task.replace("minutes: 1,", &format!("minutes: {minutes},"));
        task = task.replace("family: colours", &format!("family: {family}"));
        if id == "long" {
            task = task.replace("target: blue", "target: azure");
        }
        context.write(&format!("tasks/{id}/task.yaml"), &task);
    }
    let unknown = EASY.replace("human: {minutes: 1, source: estimate}\n", "");
    context.write("tasks/easy/task.yaml", &unknown);
    Suite::default().write(&context);
    context.run("run suite.yaml --epochs 2").expect(0);
    context
}

#[test]
fn runs_of_ours_have_horizons() {
    let context = ran();
    insta::assert_snapshot!(
        context
            .run(&format!("horizon {} --draws 100", context.run_name()))
            .text
    );
    let twice = format!("horizon {0} {0}", context.run_name());
    assert!(context.run(&twice).expect(2).stderr.contains("is given twice"));
    // A task that changed is another task.
    let path = context.path("tasks/short/task.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("version: 3", "version: 4")).unwrap();
    context.run("run suite.yaml --epochs 2 --new").expect(0);
    let runs = context.runs();
    let names: Vec<String> = runs.iter().map(|run| crate::util::name_of(run)).collect();
    let shot = context.run(&format!("horizon {}", names.join(" "))).expect(2);
    insta::assert_snapshot!(shot.text);
}

/// METR's runs of February 2025 through the command line: the fits and, within their random error, the bounds.
#[test]
fn metrs_runs_give_metrs_numbers() {
    let folder = std::env::var_os("HARNESS_METR_RUNS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/metr-runs"),
        std::path::PathBuf::from,
    );
    let path = folder.join("runs_2025-02_hcast_rebench.csv");
    if !path.is_file() {
        eprintln!("SKIPPED: METR's runs are not at {}", path.display());
        return;
    }
    let context = Context::new();
    let output = context
        .command(["horizon", path.to_str().unwrap(), "--json", "--draws", "1000"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let models = value["treatments"][0]["models"].as_array().unwrap();
    assert_eq!((models.len(), value["runs"].as_u64()), (11, Some(7063)));
    // Point and bounds of the 50 % horizon by METR's routine, and how far ours may be from the bounds: o1 has few
    // successes on long tasks, so 1,000 draws leave its upper bound within a factor of two.
    for (name, point, lower, upper, off) in [
        ("o1-preview", 38.24, 9.80, 119.2, 0.2),
        ("Claude 3.5 Sonnet (New)", 60.94, 16.9, 232.7, 0.25),
        ("Claude 3.5 Sonnet (Old)", 23.25, 6.18, 68.7, 0.2),
        ("o1", 43.32, 2.88, 278.8, 0.5),
    ] {
        let model = models.iter().find(|model| model["alias"] == name).unwrap();
        let formula = &model["horizons"][0]["formula"];
        let found = |key: &str| formula[key].as_f64().unwrap();
        assert!((found("minutes") / point - 1.0).abs() < 1e-3, "{name}: {formula}");
        assert!((found("lower") / lower - 1.0).abs() < off, "{name}: {formula}");
        assert!((found("upper") / upper - 1.0).abs() < off, "{name}: {formula}");
    }
    let weakest = models
        .iter()
        .find(|model| model["alias"] == "davinci-002")
        .unwrap();
    assert_eq!(weakest["horizons"][0]["minutes"], serde_json::Value::Null);
    assert_eq!(
        weakest["horizons"][0]["says"],
        "shorter than the shortest task (2 min)"
    );
}

/// Draws from outcomes that are all the same fraction show no spread, which is not certainty.
#[test]
fn outcomes_that_are_all_alike_leave_an_interval() {
    let context = Context::new();
    let rows = "m,a,f,2,0.3\nm,b,g,8,0.3\nm,c,h,30,0.3\n";
    let text = format!("alias,task_id,task_family,human_minutes,score_cont\n{rows}");
    context.write("runs.csv", &text);
    let text = context.run("horizon runs.csv --outcome score --draws 50").text;
    let row = text.lines().find(|line| line.trim_start().starts_with("m "));
    let told = row.unwrap().split("none:").next().unwrap();
    assert_eq!(
        told.split_whitespace().collect::<Vec<_>>().join(" "),
        "m 3 3 3 0.9/3; 30.0% [0.0%, 90.6%]"
    );
}
