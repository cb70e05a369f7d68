//! What a run is executed with, and what all its attempts share.
//!
//! Owns: everything that is made once for many trials. Must not: change while the run goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use harness_core::ids::RunId;
use harness_core::model::ToolSpec;
use harness_core::outcome::Outcome;
use harness_core::plan::Plan;
use harness_core::ports::{Clock, EventStore, ModelClient, PreparedImage, SandboxProvider};
use harness_core::prompt::system_variables;
use harness_core::scaffold::{Prompts, ToolFormat};
use harness_core::schedule::{Spend, TrialPast};
use harness_core::score::Score;
use harness_core::template::{Template, TemplateError};
use harness_core::tools;
use tokio::sync::{mpsc, watch};

use crate::prepare::model_limits;
use crate::progress::Progress;

/// What a run is executed with.
pub struct RunInput {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The run's name.
    pub run: RunId,
    /// What earlier processes knew, one for each trial, or empty.
    pub past: Vec<TrialPast>,
    /// What earlier processes spent.
    pub spent: Spend,
    /// The phase that an earlier process began and did not end.
    pub open_phase: Option<usize>,
    /// How long earlier processes ran.
    pub used_wall: Duration,
    /// Clients, one for each model of the suite.
    pub models: Vec<Arc<dyn ModelClient>>,
    /// Where sandboxes come from; `None` if no task needs one.
    pub sandboxes: Option<Arc<dyn SandboxProvider>>,
    /// Where events go.
    pub store: Arc<dyn EventStore>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Each message is one request of a person to stop.
    pub interrupts: mpsc::UnboundedReceiver<()>,
    /// Gets a view of the run several times a second; its first value has what earlier processes did.
    pub progress: watch::Sender<Progress>,
    /// The longest wait for one answer of a model.
    pub call_timeout: Duration,
    /// Which sandboxes stay after their attempts.
    pub keep: KeepSandboxes,
}

/// Which sandboxes stay after their attempts, for a person to look into. What a person or the budget cancelled is
/// never kept, and what a containment event ended always is, in quarantine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepSandboxes {
    /// None.
    #[default]
    Never,
    /// Those of attempts that were no success: void, unscored, below the threshold, or ended by a limit.
    Failed,
    /// All.
    All,
}

impl KeepSandboxes {
    /// Returns whether the sandbox of an attempt that ended so is kept.
    pub(crate) fn keeps(self, outcome: &Outcome) -> bool {
        let failed = match outcome {
            Outcome::Scored { score } | Outcome::Refused { score, .. } => {
                !score.score().is_some_and(Score::success)
            }
            Outcome::LimitReached { .. } | Outcome::Void { .. } | Outcome::Breached { .. } => true,
            Outcome::Cancelled { .. } => return false,
        };
        match self {
            Self::Never => false,
            Self::Failed => failed,
            Self::All => true,
        }
    }
}

/// What all attempts of a run share.
pub(crate) struct RunContext {
    pub(crate) plan: Arc<Plan>,
    pub(crate) run: RunId,
    pub(crate) models: Vec<Arc<dyn ModelClient>>,
    pub(crate) sandboxes: Option<Arc<dyn SandboxProvider>>,
    pub(crate) images: BTreeMap<usize, PreparedImage>,
    pub(crate) store: Arc<dyn EventStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keep: KeepSandboxes,
    call_timeout: Duration,
    /// Whether any model has limits, so that the size of a call matters before it is made.
    pub(crate) gated: bool,
    shared: Vec<Vec<OnceLock<Shared>>>,
}

/// What all trials of one task and scaffold share.
pub(crate) struct Shared {
    pub(crate) specs: Arc<Vec<ToolSpec>>,
    pub(crate) prompts: Arc<Prompts>,
    pub(crate) system: Result<Option<String>, TemplateError>,
    pub(crate) instructions: Result<Template, TemplateError>,
}

impl RunContext {
    pub(crate) fn new(input: &RunInput, images: BTreeMap<usize, PreparedImage>) -> Self {
        let plan = Arc::clone(&input.plan);
        let cells = |_| plan.scaffolds.iter().map(|_| OnceLock::new()).collect();
        Self {
            run: input.run.clone(),
            models: input.models.clone(),
            sandboxes: input.sandboxes.clone(),
            images,
            store: Arc::clone(&input.store),
            clock: Arc::clone(&input.clock),
            keep: input.keep,
            call_timeout: input.call_timeout,
            gated: model_limits(&plan)
                .iter()
                .any(|limits| limits.tokens_per_minute.is_some()),
            shared: plan.tasks.iter().map(cells).collect(),
            plan: Arc::clone(&plan),
        }
    }

    /// Returns the longest wait for one answer of a model of the suite.
    pub(crate) fn call_timeout(&self, model: Option<usize>) -> Duration {
        let own = model.and_then(|model| self.plan.suite.models[model].call_timeout);
        own.unwrap_or(self.call_timeout)
    }

    pub(crate) fn shared(&self, task: usize, scaffold: usize) -> &Shared {
        self.shared[task][scaffold].get_or_init(|| {
            let (spec, scaffold_spec) = (&self.plan.tasks[task], &self.plan.scaffolds[scaffold]);
            let limits = &self.plan.limits[task][scaffold];
            let visible = spec
                .intermediate
                .as_ref()
                .is_some_and(|intermediate| intermediate.visible);
            let specs = tools::specs(&spec.tools, limits, visible);
            let text = scaffold_spec.tool_format == ToolFormat::Text;
            let grammar = if text {
                tools::grammar_text(&specs)
            } else {
                String::new()
            };
            let values = system_variables(&specs, limits, scaffold_spec.tool_format, &grammar);
            let render = |source: &String| harness_core::template::render("system", source, &values);
            Shared {
                system: scaffold_spec.prompts.system.as_ref().map(render).transpose(),
                instructions: Template::compile("instructions", &spec.instructions),
                prompts: Arc::new(scaffold_spec.prompts.clone()),
                specs: Arc::new(specs),
            }
        })
    }
}
