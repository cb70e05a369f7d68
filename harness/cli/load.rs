//! Reads a suite or tasks with everything that they refer to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harness_core::formats::{
    Folder, Parsed, PriceList, Problems, complete_models, nearest, parse_models, parse_prices,
    parse_scaffold, parse_suite, parse_task,
};
use harness_core::ids::TaskId;
use harness_core::model::ModelSpec;
use harness_core::plan::PlanInput;
use harness_core::scaffold::ScaffoldSpec;
use harness_core::suite::SuiteSpec;
use harness_core::task::{FileData, TaskFiles, TaskSpec};

use crate::args::{RunArgs, open_network};
use crate::exit::Failure;
use crate::walk::{Found, find, read_folder, unreadable};

/// Scaffolds that are built in, so that a task can be run without any other file.
const SHIPPED: [(&str, &[(&str, &str)]); 5] = [
    (
        "react",
        &[
            (
                "scaffold.yaml",
                include_str!("../../scaffolds/react/scaffold.yaml"),
            ),
            ("system.j2", include_str!("../../scaffolds/react/system.j2")),
            ("continue.j2", include_str!("../../scaffolds/react/continue.j2")),
            (
                "tool_error.j2",
                include_str!("../../scaffolds/react/tool_error.j2"),
            ),
        ],
    ),
    (
        "react-text",
        &[
            (
                "scaffold.yaml",
                include_str!("../../scaffolds/react-text/scaffold.yaml"),
            ),
            ("system.j2", include_str!("../../scaffolds/react-text/system.j2")),
            (
                "continue.j2",
                include_str!("../../scaffolds/react-text/continue.j2"),
            ),
            (
                "tool_error.j2",
                include_str!("../../scaffolds/react-text/tool_error.j2"),
            ),
        ],
    ),
    (
        "single",
        &[
            (
                "scaffold.yaml",
                include_str!("../../scaffolds/single/scaffold.yaml"),
            ),
            ("system.j2", include_str!("../../scaffolds/single/system.j2")),
        ],
    ),
    (
        "oracle",
        &[(
            "scaffold.yaml",
            include_str!("../../scaffolds/oracle/scaffold.yaml"),
        )],
    ),
    (
        "noop",
        &[(
            "scaffold.yaml",
            include_str!("../../scaffolds/noop/scaffold.yaml"),
        )],
    ),
];

/// Everything that a plan is made from, and where it was.
pub(crate) struct Loaded {
    pub(crate) input: PlanInput,
    /// The folder that relative names of models refer to.
    pub(crate) base: PathBuf,
    /// What was given on the command line.
    pub(crate) source: String,
    /// The tasks' folders.
    pub(crate) folders: BTreeMap<TaskId, String>,
    /// What somebody should look at.
    pub(crate) warnings: Problems,
}

/// Collects values and problems of many inputs, so that all are shown at once.
#[derive(Default)]
pub(crate) struct Collector {
    pub(crate) problems: Problems,
    pub(crate) warnings: Problems,
}

impl Collector {
    pub(crate) fn take<T>(&mut self, parsed: Parsed<T>) -> Option<T> {
        match parsed {
            Ok(checked) => {
                self.warnings.0.extend(checked.warnings.0);
                Some(checked.value)
            }
            Err(problems) => {
                self.problems.0.extend(problems.0);
                None
            }
        }
    }

    pub(crate) fn finish(self) -> Result<Problems, Failure> {
        if self.problems.0.is_empty() {
            return Ok(self.warnings);
        }
        let (errors, _) = self.problems.counts();
        crate::warn(&self.problems.to_string());
        let plural = if errors == 1 { "" } else { "s" };
        Err(Failure::input(format!(
            "{errors} problem{plural} in the input; nothing was run"
        )))
    }
}

/// Reads what the arguments of `harness run` name.
pub(crate) fn load(args: &RunArgs) -> Result<Loaded, Failure> {
    let mut collector = Collector::default();
    let (mut suite, base, task_paths) = suite_of(&args.what, &mut collector)?;
    let (library, prices) = lists_near(&base, &mut collector)?;
    if let Some(suite) = &mut suite {
        override_suite(suite, args, &library)?;
        complete_models(&mut suite.models, &library, &prices);
        for model in suite.models.iter_mut().filter(|model| is_scripted(model)) {
            // A scripted model costs nothing, and that is known.
            model.price = model.price.or(Some(free()));
        }
    }
    let mut tasks = Vec::new();
    let mut folders = BTreeMap::new();
    for path in task_paths {
        if let Some(task) = read_task(&path, &mut collector)? {
            folders.insert(task.id.clone(), absolute(&path));
            tasks.push(Arc::new(task));
        }
    }
    let mut scaffolds = Vec::new();
    for id in suite.iter().flat_map(|suite| &suite.scaffolds) {
        if let Some(scaffold) = read_scaffold(id.as_str(), &base, &mut collector)? {
            scaffolds.push(Arc::new(scaffold));
        }
    }
    let warnings = collector.finish()?;
    let Some(suite) = suite else {
        return Err(Failure::input("the suite can't be read"));
    };
    check_twins(&tasks)?;
    let source = args
        .what
        .iter()
        .map(|path| path.display().to_string())
        .collect::<Vec<_>>()
        .join(" ");
    Ok(Loaded {
        input: PlanInput {
            suite,
            tasks,
            scaffolds,
            limit: args.limit,
            open_network: open_network(args.allow_open_network),
        },
        base,
        source,
        folders,
        warnings,
    })
}

/// Reads a suite and its tasks, or tasks alone, and nothing else that they refer to.
pub(crate) fn load_tasks(what: &[PathBuf]) -> Result<(SuiteSpec, Vec<Arc<TaskSpec>>), Failure> {
    let mut collector = Collector::default();
    let (suite, _, paths) = suite_of(what, &mut collector)?;
    let mut tasks = Vec::new();
    for path in paths {
        if let Some(task) = read_task(&path, &mut collector)? {
            tasks.push(Arc::new(task));
        }
    }
    collector.finish()?;
    let Some(suite) = suite else {
        return Err(Failure::input("the suite can't be read"));
    };
    check_twins(&tasks)?;
    Ok((suite, tasks))
}

fn free() -> harness_core::model::Price {
    use harness_core::units::Usd;
    harness_core::model::Price {
        input: Usd::ZERO,
        cached_input: Usd::ZERO,
        output: Usd::ZERO,
    }
}

fn is_scripted(model: &ModelSpec) -> bool {
    model.reference.provider == harness_core::model::ProviderKind::Scripted
}

fn check_twins(tasks: &[Arc<TaskSpec>]) -> Result<(), Failure> {
    let mut seen = std::collections::BTreeSet::new();
    match tasks.iter().find(|task| !seen.insert(&task.id)) {
        Some(twin) => Err(Failure::input(format!(
            "two folders hold a task named `{}`",
            twin.id
        ))),
        None => Ok(()),
    }
}

/// Returns the suite, the folder that its paths refer to, and the folders of its tasks.
fn suite_of(
    what: &[PathBuf],
    collector: &mut Collector,
) -> Result<(Option<SuiteSpec>, PathBuf, Vec<PathBuf>), Failure> {
    let mut tasks = Vec::new();
    let mut suites = Vec::new();
    for path in what {
        for found in find(path)? {
            match found {
                Found::Task(path) => tasks.push(path),
                Found::Suite(path) if what.contains(&path) => suites.push(path),
                _ => {}
            }
        }
    }
    match suites.as_slice() {
        [] if tasks.is_empty() => Err(Failure::input("nothing to run was found there")
            .hint("give a suite file, or folders that hold a task.yaml")),
        [] => {
            let id = if tasks.len() == 1 {
                name_of(&tasks[0])
            } else {
                "tasks".to_owned()
            };
            let text = format!(
                "harness: 1\nid: {id}\nmodels: [{{id: none, use: scripted/none}}]\nscaffolds: [react]\ntasks: [\".\"]\n"
            );
            let mut suite = collector.take(parse_suite("(command line)", text.as_bytes()));
            if let Some(suite) = &mut suite {
                suite.models.clear();
            }
            Ok((suite, PathBuf::from("."), tasks))
        }
        [suite] if tasks.is_empty() => {
            let bytes = fs::read(suite).map_err(|error| unreadable(suite, &error))?;
            let base = suite.parent().filter(|parent| !parent.as_os_str().is_empty());
            let base = base.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
            let parsed = collector.take(parse_suite(&suite.display().to_string(), &bytes));
            let mut tasks = Vec::new();
            for pattern in parsed.iter().flat_map(|suite| &suite.tasks) {
                tasks.extend(expand(&base, pattern)?);
            }
            Ok((parsed, base, tasks))
        }
        _ => Err(Failure::input("give either one suite or folders of tasks")),
    }
}

fn name_of(path: &Path) -> String {
    let full = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    full.file_name()
        .map_or_else(|| "task".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn absolute(path: &Path) -> String {
    fs::canonicalize(path)
        .unwrap_or_else(|_| path.to_path_buf())
        .display()
        .to_string()
}

/// Returns the task folders that a path or glob of a suite names.
fn expand(base: &Path, pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let full = base.join(pattern);
    let text = full.display().to_string();
    let paths = glob::glob(&text).map_err(|error| {
        Failure::input(format!("`{pattern}` in the suite is not a path pattern: {error}"))
    })?;
    let mut found: Vec<PathBuf> = paths
        .filter_map(Result::ok)
        .filter(|path| path.join("task.yaml").is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        let message =
            format!("`{pattern}` in the suite names no folder with a task.yaml (looked for {text})");
        return Err(Failure::input(message).hint("paths in a suite are relative to the suite's folder"));
    }
    Ok(found)
}

/// Reads one task.
pub(crate) fn read_task(path: &Path, collector: &mut Collector) -> Result<Option<TaskSpec>, Failure> {
    let files = read_folder(path)?;
    let (shown, name) = (path.display().to_string(), name_of(path));
    Ok(collector.take(parse_task(&Folder {
        path: &shown,
        name: &name,
        files: &files,
    })))
}

/// Reads a scaffold's folder.
pub(crate) fn read_scaffold_folder(
    path: &Path,
    collector: &mut Collector,
) -> Result<Option<ScaffoldSpec>, Failure> {
    let files = read_folder(path)?;
    let (shown, name) = (path.display().to_string(), name_of(path));
    Ok(collector.take(parse_scaffold(&Folder {
        path: &shown,
        name: &name,
        files: &files,
    })))
}

/// Finds a scaffold by name: in `scaffolds/` beside the suite or in a folder above it, here, or built in.
fn read_scaffold(id: &str, base: &Path, collector: &mut Collector) -> Result<Option<ScaffoldSpec>, Failure> {
    for place in above(base) {
        let folder = place.join("scaffolds").join(id);
        if folder.join("scaffold.yaml").is_file() {
            return read_scaffold_folder(&folder, collector);
        }
    }
    if let Some(scaffold) = shipped_scaffold(id, collector) {
        return Ok(Some(scaffold));
    }
    let known = SHIPPED.map(|(name, _)| name);
    let mut failure = Failure::input(format!("there is no scaffold `{id}`"));
    failure = match nearest(id, known) {
        Some(near) => failure.hint(format!("did you mean `{near}`?")),
        None => failure.hint(format!(
            "put it into scaffolds/{id}, or use one of {}",
            known.join(", ")
        )),
    };
    Err(failure)
}

/// Returns a scaffold that is built in.
pub(crate) fn shipped_scaffold(id: &str, collector: &mut Collector) -> Option<ScaffoldSpec> {
    let (_, texts) = SHIPPED.iter().find(|(name, _)| *name == id)?;
    let data = |text: &str| {
        Arc::new(FileData {
            bytes: text.as_bytes().to_vec(),
            executable: false,
        })
    };
    let files: TaskFiles = texts
        .iter()
        .map(|(name, text)| ((*name).to_owned(), data(text)))
        .collect();
    collector.take(parse_scaffold(&Folder {
        path: "(built in)",
        name: id,
        files: &files,
    }))
}

/// Returns a folder, the folders above it, and the present one.
fn above(base: &Path) -> Vec<PathBuf> {
    let full = fs::canonicalize(base).unwrap_or_else(|_| base.to_path_buf());
    let mut places: Vec<PathBuf> = full.ancestors().map(Path::to_path_buf).collect();
    places.push(PathBuf::from("."));
    places
}

fn lists_near(base: &Path, collector: &mut Collector) -> Result<(Vec<ModelSpec>, PriceList), Failure> {
    let near = |name: &str| {
        above(base)
            .into_iter()
            .map(|place| place.join(name))
            .find(|path| path.is_file())
    };
    let mut library = Vec::new();
    if let Some(path) = near("models.yaml") {
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        library = collector
            .take(parse_models(&path.display().to_string(), &bytes))
            .unwrap_or_default();
    }
    let mut prices = PriceList::default();
    if let Some(path) = near("prices.yaml") {
        let bytes = fs::read(&path).map_err(|error| unreadable(&path, &error))?;
        prices = collector
            .take(parse_prices(&path.display().to_string(), &bytes))
            .unwrap_or_default();
    }
    Ok((library, prices))
}

fn override_suite(suite: &mut SuiteSpec, args: &RunArgs, library: &[ModelSpec]) -> Result<(), Failure> {
    if let Some(epochs) = args.epochs {
        suite.epochs = epochs.max(1);
    }
    if let Some(name) = args.runtime {
        suite.runtime = Some(name.runtime());
    }
    if !args.scaffold.is_empty() {
        suite.scaffolds = args.scaffold.iter().map(|id| id.as_str().into()).collect();
    }
    if args.model.is_empty() {
        return Ok(());
    }
    suite
        .models
        .retain(|model| !harness_core::plan::is_subject(model));
    for name in &args.model {
        suite.models.push(model_from(name, library)?);
    }
    Ok(())
}

/// Reads a model given on the command line: a name of `models.yaml`, or `PROVIDER/NAME`.
fn model_from(name: &str, library: &[ModelSpec]) -> Result<ModelSpec, Failure> {
    if let Some(known) = library.iter().find(|model| model.id.as_str() == name) {
        return Ok(known.clone());
    }
    let quoted = serde_json::Value::String(name.to_owned());
    let tail = name.rsplit('/').next().unwrap_or(name).to_lowercase();
    let stem = tail.split('.').next().unwrap_or("model");
    let id: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    let id = id.trim_matches('-');
    let id = if id.is_empty() { "model" } else { id };
    let text = format!("harness: 1\nmodels: [{{id: \"{id}\", use: {quoted}}}]\n");
    match parse_models("(--model)", text.as_bytes()) {
        Ok(checked) => checked
            .value
            .into_iter()
            .next()
            .ok_or_else(|| Failure::input(format!("`{name}` is not a model"))),
        Err(problems) => {
            let first = problems.0.first();
            let message = first.map_or_else(String::new, |problem| problem.message.clone());
            let failure = Failure::input(format!("--model {name}: {message}"));
            Err(match first.and_then(|problem| problem.hint.clone()) {
                Some(hint) => failure.hint(hint),
                None => failure.hint("write it like `compat/qwen3` or `scripted/model.yaml`"),
            })
        }
    }
}
