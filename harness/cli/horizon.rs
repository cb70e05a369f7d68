//! `harness horizon`: reads runs, has the curves fitted and the draws made on all cores, and prints.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use harness_core::formats::{MAX_RUNS_TEXT, OutcomeColumn, parse_releases, parse_runs};
use harness_core::stats::Level;
use harness_core::stats::horizon::{
    Analysis, Cheats, Dataset, Day, Draw, Ridge, Settings, Weighting, candidates, estimate, trend,
};
use harness_report::{
    HorizonReport, Treatment, TrendReport, TrialOutcome, TrialRow, horizon_csv, horizon_json, horizon_table,
    observations,
};
use rayon::iter::{IntoParallelIterator as _, ParallelExtend as _, ParallelIterator as _};

use crate::args::{HorizonArgs, OutcomeName, WeightsName};
use crate::exit::{Exit, Failure};
use crate::load::Collector;
use crate::progress::Counting;
use crate::run_dir::open;
use crate::walk::unreadable;

/// The most curves that are kept: draws times models.
const MAX_CURVES: u64 = 2_000_000;
/// How many draws are made between two looks at the progress.
const AT_ONCE: u32 = 256;

/// `harness horizon FILE|RUN...`
pub(crate) fn horizon(args: &HorizonArgs) -> Result<Exit, Failure> {
    let input = Input::read(args)?;
    let wanted = Wanted::new(args, &input.data)?;
    let treatments = if input.data.has_cheats() {
        vec![Some(Cheats::Fail), Some(Cheats::Count)]
    } else {
        vec![None]
    };
    let steps = u64::from(wanted.draws) * treatments.len() as u64;
    let mut progress = Counting::new("draws", steps);
    let treatments = treatments
        .into_iter()
        .map(|cheats| wanted.treatment(&input, cheats, &mut progress));
    let treatments = treatments.collect();
    progress.end();
    let report = HorizonReport {
        source: input.source,
        outcome: match args.outcome {
            OutcomeName::Success => "success",
            OutcomeName::Score => "score",
        },
        runs: input.data.runs(),
        tasks: input.data.tasks(),
        families: input.data.families(),
        excluded: input.data.excluded().to_vec(),
        weighting: wanted.weighting,
        ridge: wanted.ridge,
        levels: wanted.levels,
        confidence: Level::P95,
        draws: u64::from(wanted.draws),
        seed: args.seed,
        treatments,
    };
    print(args, &report)?;
    Ok(Exit::Clear)
}

fn print(args: &HorizonArgs, report: &HorizonReport) -> Result<(), Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::ours("failed to write the horizons", error);
    let text = if args.json {
        let text = serde_json::to_string_pretty(&horizon_json(report)).map_err(|error| failed(&error))?;
        text + "\n"
    } else if args.csv {
        horizon_csv(report).map_err(|error| failed(&error))?
    } else {
        horizon_table(report)
    };
    crate::print(&text)
}

/// Runs from a file, or from runs of ours.
struct Input {
    source: String,
    data: Dataset,
    releases: BTreeMap<String, Day>,
}

impl Input {
    fn read(args: &HorizonArgs) -> Result<Self, Failure> {
        let is_file = |name: &String| Path::new(name).is_file();
        let mut input = match args.what.as_slice() {
            [file] if is_file(file) => Self::from_file(file, args.outcome)?,
            several if several.iter().any(is_file) => {
                return Err(Failure::input("one file, or runs, not several files or both")
                    .hint("put the rows of several files into one"));
            }
            [file] if looks_like_file(file) => {
                return Err(Failure::input(format!("there is no file {file}")));
            }
            runs => Self::from_runs(args, runs)?,
        };
        if let Some(path) = &args.releases {
            let mut collector = Collector::default();
            let shown = path.display().to_string();
            let days = collector.take(parse_releases(&shown, &read(path)?));
            let warnings = collector.finish()?;
            crate::warn(&warnings.to_string());
            input.releases.extend(days.unwrap_or_default());
        }
        let known: BTreeSet<&str> = input.data.models().collect();
        for model in input
            .releases
            .keys()
            .filter(|model| !known.contains(model.as_str()))
        {
            let name = harness_core::text::printable(model);
            crate::warn(&format!(
                "warning: there is a day of release for `{name}`, and no run of it\n"
            ));
        }
        Ok(input)
    }

    fn from_file(file: &str, outcome: OutcomeName) -> Result<Self, Failure> {
        let column = match outcome {
            OutcomeName::Success => OutcomeColumn::Binarized,
            OutcomeName::Score => OutcomeColumn::Continuous,
        };
        let mut collector = Collector::default();
        let parsed = collector.take(parse_runs(file, &read(Path::new(file))?, column));
        let warnings = collector.finish()?;
        crate::warn(&warnings.to_string());
        let Some(parsed) = parsed else {
            return Err(Failure::input(format!("{file} can't be read")));
        };
        Ok(Self {
            source: file.to_owned(),
            data: parsed.data,
            releases: parsed.releases,
        })
    }

    fn from_runs(args: &HorizonArgs, names: &[String]) -> Result<Self, Failure> {
        let mut rows: Vec<TrialRow> = Vec::new();
        let mut runs = BTreeSet::new();
        for name in names {
            let run = open(&args.results.results, name)?;
            if !runs.insert(run.name()) {
                return Err(Failure::input(format!("run {} is given twice", run.name())));
            }
            rows.extend(run.rows());
        }
        check_versions(&rows)?;
        let outcome = match args.outcome {
            OutcomeName::Success => TrialOutcome::Success,
            OutcomeName::Score => TrialOutcome::Score,
        };
        let (observations, excluded) = observations(&rows, outcome);
        if observations.is_empty() {
            let excluded = excluded.iter().map(|one| format!("{} {}", one.units, one.why));
            let excluded: Vec<String> = excluded.collect();
            let hint = format!("of its trials are: {}", excluded.join(", "));
            return Err(Failure::input("no trial has a score and a known human time").hint(hint));
        }
        let data =
            Dataset::new(&observations, excluded).map_err(|error| Failure::input(error.to_string()))?;
        Ok(Self {
            source: names.join(" "),
            data,
            releases: BTreeMap::new(),
        })
    }
}

/// A task of another version is another task: its scores don't belong together.
fn check_versions(rows: &[TrialRow]) -> Result<(), Failure> {
    let mut versions = BTreeMap::new();
    for row in rows {
        let planned = &row.planned;
        let (version, run) = versions
            .entry(&planned.task)
            .or_insert((planned.task_version, &planned.run));
        if *version != planned.task_version {
            let (task, here) = (&planned.task, planned.task_version);
            let message = format!(
                "task `{task}` has version {version} in run {run} and {here} in {}",
                planned.run
            );
            return Err(Failure::input(message).hint("give runs with the same versions of their tasks"));
        }
    }
    Ok(())
}

/// Runs have no such names.
fn looks_like_file(name: &str) -> bool {
    let extension = Path::new(name).extension().unwrap_or_default();
    ["csv", "json", "jsonl", "ndjson"]
        .iter()
        .any(|known| extension == *known)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| unreadable(path, &error);
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that the reader sees that it is too long.
    file.take(MAX_RUNS_TEXT as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

/// What was asked for.
struct Wanted {
    weighting: Weighting,
    ridge: Ridge,
    levels: Vec<Level>,
    draws: u32,
    seed: u64,
    after: Day,
    before: Day,
    window: String,
}

impl Wanted {
    fn new(args: &HorizonArgs, data: &Dataset) -> Result<Self, Failure> {
        let ridge = Ridge::new(args.ridge).map_err(|error| Failure::input(error.to_string()))?;
        let mut levels: Vec<Level> = Vec::new();
        for percent in &args.levels {
            let level = Level::new("a level", percent / 100.0).map_err(|_| {
                Failure::input(format!(
                    "a level of {percent} %, expected more than 0 and less than 100"
                ))
            })?;
            if !levels.contains(&level) {
                levels.push(level);
            }
        }
        let models = data.models().count() as u64;
        if u64::from(args.draws).saturating_mul(models) > MAX_CURVES {
            let message = format!(
                "{} draws of {models} models are more than {MAX_CURVES} curves",
                args.draws
            );
            return Err(Failure::input(message).hint("ask for fewer with --draws"));
        }
        let day = |text: &Option<String>, otherwise: &str| {
            let text = text.as_deref().unwrap_or(otherwise);
            Day::parse(text).ok_or_else(|| Failure::input(format!("`{text}` is no day such as 2023-01-01")))
        };
        let window = match (&args.after, &args.before) {
            (None, None) => "all days".to_owned(),
            (Some(after), None) => format!("from {after} on"),
            (None, Some(before)) => format!("before {before}"),
            (Some(after), Some(before)) => format!("from {after} until before {before}"),
        };
        Ok(Self {
            weighting: match args.weights {
                WeightsName::InvsqrtTaskWeight => Weighting::InverseSquareRoot,
                WeightsName::EqualTaskWeight => Weighting::EqualTask,
            },
            ridge,
            levels,
            draws: args.draws,
            seed: args.seed,
            after: day(&args.after, "0000-01-01")?,
            before: day(&args.before, "9999-12-31")?,
            window,
        })
    }

    fn treatment(&self, input: &Input, cheats: Option<Cheats>, progress: &mut Counting) -> Treatment {
        let settings = Settings {
            weighting: self.weighting,
            ridge: self.ridge,
            cheats: cheats.unwrap_or(Cheats::Fail),
        };
        let analysis = Analysis::new(&input.data, settings);
        let mut draws: Vec<Draw> = Vec::new();
        let mut begun = 0;
        while begun < self.draws {
            let end = (begun + AT_ONCE).min(self.draws);
            // The order is that of the numbers, whichever core is done first.
            draws.par_extend(
                (begun..end)
                    .into_par_iter()
                    .map(|number| analysis.draw(self.seed, number)),
            );
            progress.advance(u64::from(end - begun));
            begun = end;
        }
        let models = estimate(&analysis, &draws, &self.levels, Level::P95);
        let trend = (!input.releases.is_empty()).then(|| self.trend(input, &analysis, &draws));
        Treatment {
            cheats,
            models,
            trend,
        }
    }

    fn trend(&self, input: &Input, analysis: &Analysis<'_>, draws: &[Draw]) -> TrendReport {
        let candidates = candidates(analysis, draws, &input.releases);
        let days = self.after..self.before;
        let found = trend(&candidates.releases, days, &candidates.draws, Level::P95);
        TrendReport {
            window: self.window.clone(),
            trend: found.map_err(|error| error.to_string()),
            left_out: candidates.left_out,
            releases: candidates.releases,
        }
    }
}
