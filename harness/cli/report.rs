//! Writes the derived files of a run. They hold nothing that the logs don't, and come out the same every time.

use harness_report::{markdown_summary, report_json, summary_table, trials_csv};

use crate::args::{Format, ReportArgs};
use crate::exit::{Exit, Failure};
use crate::run_dir::{StoredRun, open};

/// `harness report`
pub(crate) fn report(args: &ReportArgs) -> Result<Exit, Failure> {
    for name in &args.runs {
        let run = open(&args.results.results, name)?;
        let paths = write(&run, &args.format)?;
        crate::warn(&summary_table(&run.summary()));
        for path in paths {
            crate::print(&format!("{path}\n"))?;
        }
    }
    Ok(Exit::Clear)
}

/// Writes derived files and returns their paths.
pub(crate) fn write(run: &StoredRun, formats: &[Format]) -> Result<Vec<String>, Failure> {
    let rows = run.rows();
    let summary = run.summary();
    let mut paths = Vec::new();
    for format in formats {
        let (name, text) = match format {
            Format::Csv => {
                let text =
                    trials_csv(&rows).map_err(|error| Failure::ours("failed to make trials.csv", error))?;
                ("trials.csv", text)
            }
            Format::Json => {
                let text = serde_json::to_string_pretty(&report_json(&summary, &rows));
                (
                    "report.json",
                    text.map_err(|error| Failure::ours("failed to make report.json", error))? + "\n",
                )
            }
            Format::Markdown => ("summary.md", markdown_summary(&summary)),
        };
        paths.push(
            run.dir
                .write_derived(name, text.as_bytes())?
                .display()
                .to_string(),
        );
    }
    Ok(paths)
}
