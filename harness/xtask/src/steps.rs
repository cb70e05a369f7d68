//! Steps with a headline and a duration.
//!
//! Owns: how steps are shown. Must not: know what they do.

use std::time::Instant;

use anyhow::{Context, Result};

/// Steps in order; the first that fails is the last.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<(String, f64)>,
    left_out: Vec<String>,
}

impl Steps {
    /// Runs a step.
    pub(crate) fn run<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n==> {name}");
        let start = Instant::now();
        let value = step().with_context(|| format!("step `{name}`"))?;
        let seconds = start.elapsed().as_secs_f64();
        println!("    {name}: ok, {seconds:.1} s");
        self.done.push((name.to_owned(), seconds));
        Ok(value)
    }

    /// Says that a step is left out, and why.
    pub(crate) fn leave_out(&mut self, name: &str, why: &str) {
        println!("\n==> {name}\n    LEFT OUT: {why}");
        self.left_out.push(format!("{name}: {why}"));
    }

    /// Prints what was done, in one block.
    pub(crate) fn close(&self) {
        println!("\nall steps passed:");
        for (name, seconds) in &self.done {
            println!("  {seconds:8.1} s  {name}");
        }
        for line in &self.left_out {
            println!("  left out    {line}");
        }
    }
}
