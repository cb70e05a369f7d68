//! The page that says which method answers which question names only what there is.

use std::collections::BTreeSet;

/// Imports each name, which compiles only if it is there, and returns all as texts.
macro_rules! existing {
    ($($module:ident::$name:ident),+ $(,)?) => {{
        $({
            #[expect(unused_imports, reason = "an import that compiles is all that is asked of a name")]
            use harness_core::stats::$module::$name;
        })+
        BTreeSet::from([$(concat!(stringify!($module), "::", stringify!($name))),+])
    }};
}

#[test]
fn the_page_names_only_what_there_is() {
    let existing = existing!(
        agreement::cohen_kappa,
        agreement::fleiss_kappa,
        agreement::gwet_ac1,
        agreement::krippendorff_alpha,
        bootstrap::ClusterBootstrap,
        confidence_sequence::EmpiricalBernstein,
        confidence_sequence::beta_binomial,
        confidence_sequence::normal_mixture,
        elicitation::NoiseSweep,
        elicitation::choose_setting,
        elicitation::elicitation_gap,
        elicitation::elicited,
        elicitation::paired_elicitation_gap,
        elicitation::recovered_fraction,
        gate::attempts_needed,
        gate::decide,
        gate::decide_domains,
        gate::jump,
        gate::lower_bound,
        gate::operating_characteristics,
        gate::upper_bound,
        headline::headline,
        independent::fisher,
        independent::miettinen_nurminen,
        independent::newcombe,
        independent::probability_higher,
        independent::welch,
        interval::clopper_pearson,
        interval::jeffreys,
        interval::uniform_posterior,
        interval::units_to_rule_out,
        interval::wilson,
        item_response::person_fit,
        misclassification::ppi_mean,
        misclassification::rogan_gladen,
        misclassification::rogan_gladen_posterior,
        multiplicity::adjust,
        overdispersion::beta_binomial,
        overdispersion::cluster_model,
        overdispersion::shrunken,
        overdispersion::spread,
        paired::mcnemar,
        paired::newcombe,
        paired::paired_difference,
        paired::probability_higher,
        paired::sign_flip,
        paired::tango,
        power::GateOutlook,
        power::Layout,
        power::PairedDesign,
        power::rule_out_units,
        power::samples_needed,
        repeats::best_of,
        repeats::best_within,
        repeats::mean_pass,
        repeats::pass,
        repeats::pass_bound,
        sequential::fixed_design,
        sequential::group_design,
        spurious::audit_interval,
        spurious::audited_rate,
        spurious::correction,
        spurious::imbens_manski,
        spurious::spurious_bounds,
        spurious::spurious_posterior,
        standard_error::clustered,
        standard_error::clustered_counts,
    );
    let page = include_str!("../../src/stats/README.md");
    let text = page.split("```").step_by(2).collect::<String>();
    let named: BTreeSet<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains("::") && *code != "harness_core::stats")
        .collect();
    assert_eq!(named, existing);
}
