//! What calls into a sandbox cost: figures out of the values that a program of the Docker adapter measures.
//!
//! Owns: which figures follow from which values. Must not: call a sandbox; this program is no release build.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::measure::measure;
use super::row::{Better, Row, median};
use crate::workshop;

/// Runs the program and prints its figures.
pub(super) fn run(bench: &mut Bench) -> Result<()> {
    let program = workshop::build_example(&bench.root, "harness-docker", "bench_sandbox")?;
    let mut command = Command::new(program);
    command.args(bench.quick.then_some("--quick"));
    measure(&mut command, &bench.scratch)?;
    let output = fs::read_to_string(bench.scratch.join("stdout"))?;
    for row in rows(&medians(&output)?)? {
        bench.printer.print(&row);
    }
    Ok(())
}

/// Returns the median of each value that a program printed.
pub(super) fn medians(output: &str) -> Result<BTreeMap<String, f64>> {
    let line = |text: &str| {
        let line: Value = serde_json::from_str(text).ok()?;
        let values = line["values"].as_array()?.iter().filter_map(Value::as_f64);
        Some((line["name"].as_str()?.to_owned(), median(values)))
    };
    let named = |text: &str| line(text).with_context(|| format!("not a figure: {text:?}"));
    output.lines().map(named).collect()
}

fn rows(medians: &BTreeMap<String, f64>) -> Result<Vec<Row>> {
    let of = |name: &str| {
        let found = medians.get(name).copied();
        found.with_context(|| format!("`{name}` was not measured"))
    };
    let in_ms = |name, value| Row::lower("sandbox", name, value, "ms");
    // The command itself is not the call's fault: what it takes to start it is the floor, not part of the figure.
    let start = of("fork_exec_ms")?;
    let call = in_ms("tool_call_ms", of("tool_call_ms")? - start).with_floor(start);
    let daemon = in_ms("daemon_exec_ms", of("daemon_exec_ms")? - start).with_floor(start);
    let rate = Row {
        better: Better::Higher,
        ..Row::lower("sandbox", "tool_calls_per_s", of("tool_calls_per_s")?, "1/s")
    };
    let into = in_ms("file_10mb_in_ms", of("file_in_ms")?).with_floor(of("copy_inside_ms")?);
    let out = in_ms("file_10mb_out_ms", of("file_out_ms")?).with_floor(of("read_inside_ms")?);
    let slower = if into.value > out.value { &into } else { &out };
    let slower = Row {
        name: "file_10mb_ms",
        ..slower.clone()
    };
    let memory = Row::lower("sandbox", "helper_rss_mb", of("helper_rss_mb")?, "MB");
    Ok(vec![call, daemon, rate, into, out, slower, memory])
}

#[cfg(test)]
mod tests {
    use super::{medians, rows};

    #[test]
    fn figures_follow_from_values() {
        let output = r#"{"name":"fork_exec_ms","values":[0.5]}
{"name":"tool_call_ms","values":[1.75,9.0,1.0]}
{"name":"daemon_exec_ms","values":[50.5]}
{"name":"file_in_ms","values":[30.0]}
{"name":"file_out_ms","values":[20.0]}
{"name":"copy_inside_ms","values":[10.0]}
{"name":"read_inside_ms","values":[2.0]}
{"name":"helper_rss_mb","values":[3.0]}
{"name":"tool_calls_per_s","values":[500.0,600.0]}
"#;
        let rows = rows(&medians(output).unwrap()).unwrap();
        let shown: Vec<String> = rows
            .iter()
            .map(|row| {
                format!(
                    "{} {} {} {:?} {:?}",
                    row.name, row.value, row.unit, row.better, row.floor
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "tool_call_ms 1.25 ms Lower Some(0.5)",
                "daemon_exec_ms 50 ms Lower Some(0.5)",
                "tool_calls_per_s 550 1/s Higher None",
                "file_10mb_in_ms 30 ms Lower Some(10.0)",
                "file_10mb_out_ms 20 ms Lower Some(2.0)",
                "file_10mb_ms 30 ms Lower Some(10.0)",
                "helper_rss_mb 3 MB Lower None",
            ]
        );
    }

    #[test]
    fn what_was_not_measured_is_no_figure() {
        let error = rows(&medians("{\"name\":\"fork_exec_ms\",\"values\":[1.0]}\n").unwrap());
        assert_eq!(error.unwrap_err().to_string(), "`tool_call_ms` was not measured");
        assert!(medians("warning: x\n").is_err());
    }
}
