//! Plans of samples and epochs, before anything is run.

use pretty_assertions::assert_eq;
use serde_json::Value;

use crate::util::{Context, EASY, Suite};

/// A suite of seven tasks in six families, two samples each.
fn families() -> Context {
    let context = Context::new();
    for (at, family) in ["colours", "colours", "b", "c", "d", "e", "f"].iter().enumerate() {
        let task = EASY
            .replace("id: easy", &format!("id: task{at}"))
            .replace("family: colours", &format!("family: {family}"));
        context.write(&format!("tasks/task{at}/task.yaml"), &task);
    }
    Suite {
        more: "epochs: 3\n",
        ..Suite::default()
    }
    .write(&context);
    context
}

#[test]
fn without_a_suite_it_tells_what_it_takes() {
    insta::assert_snapshot!(Context::new().run("power").text, @r"
    exit code: 0
    --- stdout
    find a difference of 0.1 between two settings over the same samples (alpha 0.05, power 0.8)
    tasks, and in brackets the trials of each setting:
    epochs  1 sample a task  2 samples a task  4 samples a task  8 samples a task
    1       351 (351)        186 (372)         103 (412)         61 (488)
    2       220 (440)        120 (480)         70 (560)          45 (720)
    4       155 (620)        87 (696)          54 (864)          37 (1184)
    8       122 (976)        71 (1136)         46 (1472)         33 (2112)

    rule out a rate of 0.05 or more (alpha 0.05, one-sided)
    independent trials:
    successes  one look at the end  looks at any time
    0          59                   74
    1          93                   131
    2          124                  174
    3          153                  213
    5          208                  284

    decide a gate at 0.1 (alpha 0.05 for each decision)
    independent trials with power 0.8:
    true rate  to be shown  looks at any time  one look at the end
    0          below        36                 29 (at most 0 successes)
    0.01       below        64                 46 (at most 1 success)
    0.02       below        86                 61 (at most 2 successes)
    0.05       below        346                179 (at most 11 successes)
    0.15       above        686                270 (at least 36 successes)
    0.2        above        173                78 (at least 13 successes)
    0.3        above        45                 25 (at least 6 successes)

    assumed
      true scores differ between samples with variance 0.0833 (--between), a sample's score over its epochs with 0.1667 (--within)
      true scores of two settings correlate by 0.3333 (--correlation); tasks are independent; Student's t over tasks
      samples of a task correlate by 0.2, and so do its trials (--icc)
      trials come in random order, void and unscored ones are replaced
      one gate; for the i-th checkpoint of a series give --alpha 0.05/(i(i+1)), for each of d domains --alpha 0.05/d
    ");
}

#[test]
fn a_suite_is_told_what_it_can_show() {
    insta::assert_snapshot!(families().run("power suite.yaml").text, @r"
    exit code: 0
    --- stdout
    find a difference of 0.1 between two settings over the same samples (alpha 0.05, power 0.8)
    families, and in brackets the trials of each setting:
    epochs  1 sample a family  2 samples a family  4 samples a family  8 samples a family
    1       351 (351)          186 (372)           103 (412)           61 (488)
    2       220 (440)          120 (480)           70 (560)            45 (720)
    4       155 (620)          87 (696)            54 (864)            37 (1184)
    8       122 (976)          71 (1136)           46 (1472)           33 (2112)

    rule out a rate of 0.05 or more (alpha 0.05, one-sided)
    independent trials:
    successes  one look at the end  looks at any time
    0          59                   74
    1          93                   131
    2          124                  174
    3          153                  213
    5          208                  284

    decide a gate at 0.1 (alpha 0.05 for each decision)
    independent trials with power 0.8:
    true rate  to be shown  looks at any time  one look at the end
    0          below        36                 29 (at most 0 successes)
    0.01       below        64                 46 (at most 1 success)
    0.02       below        86                 61 (at most 2 successes)
    0.05       below        346                179 (at most 11 successes)
    0.15       above        686                270 (at least 36 successes)
    0.2        above        173                78 (at least 13 successes)
    0.3        above        45                 25 (at least 6 successes)

    as written  families  samples  epochs  trials  worth  finds from  epochs for 0.1
    main        6         14       3       42      16     0.474       none: it takes more families

    if nothing succeeds, the rate is at most
    as written  about             one look at the end  looks at any time  rules out 0.05
    main        these tasks       0.0689               0.0862             no
    main        tasks like these  0.171                0.211              no

    how likely the gate at 0.1 has shown what is so by the end, by true rate
    as written  about             0 below  0.01 below  0.02 below  0.05 below  0.15 above  0.2 above  0.3 above
    main        these tasks       >99%     70%         48%         16%         9%          26%        76%
    main        tasks like these  <1%      <1%         <1%         <1%         5%          12%        37%

    assumed
      true scores differ between samples with variance 0.0833 (--between), a sample's score over its epochs with 0.1667 (--within)
      true scores of two settings correlate by 0.3333 (--correlation); families are independent; Student's t over families
      samples of a family correlate by 0.2, and so do its trials (--icc)
      trials come in random order, void and unscored ones are replaced
      about these tasks every trial counts; about tasks like these as many as the trials are worth: trials over the design effect
      one gate; for the i-th checkpoint of a series give --alpha 0.05/(i(i+1)), for each of d domains --alpha 0.05/d
    ");
}

#[test]
fn only_what_is_asked_is_answered() {
    let context = Context::new();
    insta::assert_snapshot!(context.run("power --tasks 40 --samples 3 --epochs 2 --detect 0.2 --icc 0.3").text, @r"
    exit code: 0
    --- stdout
    find a difference of 0.2 between two settings over the same samples (alpha 0.05, power 0.8)
    tasks, and in brackets the trials of each setting:
    epochs  1 sample a task  2 samples a task  4 samples a task  8 samples a task
    1       90 (90)          49 (98)           29 (116)          19 (152)
    2       57 (114)         33 (132)          21 (168)          15 (240)
    4       41 (164)         25 (200)          17 (272)          13 (416)
    8       32 (256)         21 (336)          15 (480)          12 (768)

    as written  tasks  samples  epochs  trials  worth  finds from  epochs for 0.2
    by hand     40     120      2       240     94     0.154       1

    assumed
      true scores differ between samples with variance 0.0833 (--between), a sample's score over its epochs with 0.1667 (--within)
      true scores of two settings correlate by 0.3333 (--correlation); tasks are independent; Student's t over tasks
      samples of a task correlate by 0.3, and so do its trials (--icc)
    ");
    insta::assert_snapshot!(context.run("power --rule-out 0.01 --alpha 0.01").text, @r"
    exit code: 0
    --- stdout
    rule out a rate of 0.01 or more (alpha 0.01, one-sided)
    independent trials:
    successes  one look at the end  looks at any time
    0          459                  556
    1          662                  862
    2          838                  1097
    3          1001                 1306
    5          1307                 1683

    assumed
      trials come in random order, void and unscored ones are replaced
    ");
    insta::assert_snapshot!(context.run("power --gate 0.3 --rates 0.5,0.1,0.29 --power 0.9 --tasks 10").text, @r"
    exit code: 0
    --- stdout
    decide a gate at 0.3 (alpha 0.05 for each decision)
    independent trials with power 0.9:
    true rate  to be shown  looks at any time  one look at the end
    0.1        below        59                 37 (at most 6 successes)
    0.29       below        above 5000         17837 (at most 5250 successes)
    0.5        above        101                53 (at least 22 successes)

    as written  tasks  samples  epochs  trials  worth
    by hand     10     10       1       10      10

    how likely the gate at 0.3 has shown what is so by the end, by true rate
    as written  about             0.1 below  0.29 below  0.5 above
    by hand     these tasks       <1%        <1%         13%
    by hand     tasks like these  <1%        <1%         13%

    assumed
      samples of a task correlate by 0.2, and so do its trials (--icc)
      trials come in random order, void and unscored ones are replaced
      about these tasks every trial counts; about tasks like these as many as the trials are worth: trials over the design effect
      one gate; for the i-th checkpoint of a series give --alpha 0.05/(i(i+1)), for each of d domains --alpha 0.05/d
    ");
}

#[test]
fn phases_are_judged_each_on_its_own() {
    let context = families();
    Suite {
        more: "phases:\n  - {id: first, tasks: [task0, task1], ceiling: SL3}\n  - {id: none, tasks: [zzz], ceiling: SL3}\n  - {id: rest, tasks: ['*'], ceiling: SL3, gate: {kind: x}}\n",
        ..Suite::default()
    }
    .write(&context);
    insta::assert_snapshot!(context.run("power suite.yaml --detect 0.5 --epochs 2").text, @r"
    exit code: 0
    --- stdout
    find a difference of 0.5 between two settings over the same samples (alpha 0.05, power 0.8)
    families, and in brackets the trials of each setting:
    epochs  1 sample a family  2 samples a family  4 samples a family  8 samples a family
    1       16 (16)            10 (20)             7 (28)              5 (40)
    2       11 (22)            7 (28)              5 (40)              5 (80)
    4       9 (36)             6 (48)              5 (80)              5 (160)
    8       7 (56)             5 (80)              5 (160)             5 (320)

    as written  families  samples  epochs  trials  worth  finds from  epochs for 0.5
    first       1         4        2       8       3      nothing     none: it takes 5 families
    rest        5         10       2       20      11     0.644       8

    assumed
      true scores differ between samples with variance 0.0833 (--between), a sample's score over its epochs with 0.1667 (--within)
      true scores of two settings correlate by 0.3333 (--correlation); families are independent; Student's t over families
      samples of a family correlate by 0.2, and so do its trials (--icc)
    --- stderr
    note: no task belongs to phase `none`
    ");
}

#[test]
fn folders_of_tasks_do_too() {
    let context = families();
    let suite: Value = serde_json::from_str(&context.good("power suite.yaml --json")).unwrap();
    let folder: Value = serde_json::from_str(&context.good("power tasks --epochs 3 --json")).unwrap();
    assert_eq!(suite, folder);
    assert!(!context.path("results").exists());
}

#[test]
fn json_has_every_number_of_the_tables() {
    let context = Context::new();
    let args = "power --tasks 6 --samples 2 --detect 0.3 --rule-out 0.05 --gate 0.1 --rates 0 --json";
    let found: Value = serde_json::from_str(&context.good(args)).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&found["written"]).unwrap(), @r#"
    [
      {
        "planned": {
          "name": "by hand",
          "layout": {
            "tasks": 6,
            "samples": 12,
            "crowding": 2.0,
            "epochs": 1
          }
        },
        "effective": {
          "trials": 12,
          "design_effect": 1.2,
          "units": 10
        },
        "detect": {
          "from": {
            "smallest": {
              "difference": 0.6882620532189617,
              "units": 6,
              "demand": {
                "alpha": 0.05,
                "power": 0.8
              }
            },
            "epochs": null
          }
        },
        "bounds": {
          "these_fixed": {
            "lower": 0.0,
            "upper": 0.22092219194555585,
            "confidence": 0.95,
            "side": "upper",
            "method": "clopper_pearson"
          },
          "these_any_time": {
            "lower": 0.0,
            "upper": 0.2695811487413575,
            "confidence": 0.95,
            "side": "upper",
            "method": "truncated_beta_mixture"
          },
          "like_fixed": {
            "lower": 0.0,
            "upper": 0.2588655508930522,
            "confidence": 0.95,
            "side": "upper",
            "method": "clopper_pearson"
          },
          "like_any_time": {
            "lower": 0.0,
            "upper": 0.3138021441793861,
            "confidence": 0.95,
            "side": "upper",
            "method": "truncated_beta_mixture"
          }
        },
        "gate": {
          "these": [
            {
              "rate": 0.0,
              "units": 12,
              "below": 0.0,
              "above": 0.0,
              "inconclusive": 1.0
            }
          ],
          "like": [
            {
              "rate": 0.0,
              "units": 10,
              "below": 0.0,
              "above": 0.0,
              "inconclusive": 1.0
            }
          ]
        }
      }
    ]
    "#);
    assert_eq!(found["detect"].as_array().unwrap().len(), 16);
    assert_eq!(found["rule_out"][0]["fixed"]["units"], 59);
    assert_eq!(found["rule_out"][0]["any_time"]["units"], 74);
    assert_eq!(found["gate"][0]["units"], 36);
}

#[test]
fn nonsense_is_told_with_its_option() {
    let context = families();
    for (args, what) in [
        (
            "--detect 0",
            "'--detect <DIFFERENCE>': must be above 0, and 1 at most",
        ),
        (
            "--detect 1.5",
            "'--detect <DIFFERENCE>': must be above 0, and 1 at most",
        ),
        ("--detect many", "'--detect <DIFFERENCE>': is no number"),
        (
            "--detect NaN",
            "'--detect <DIFFERENCE>': must be above 0, and 1 at most",
        ),
        (
            "--rule-out 1",
            "'--rule-out <RATE>': must lie strictly between 0 and 1",
        ),
        ("--gate 0", "'--gate <RATE>': must lie strictly between 0 and 1"),
        (
            "--gate 0.1 --rates 0.2,2",
            "'--rates <RATES>': must lie from 0 to 1",
        ),
        (
            "--alpha 0",
            "'--alpha <ERROR>': must lie strictly between 0 and 1",
        ),
        (
            "--power 1",
            "'--power <PROBABILITY>': must lie strictly between 0 and 1",
        ),
        ("--between -1", "'-1'"),
        (
            "--correlation -1.5",
            "'--correlation <CORRELATION>': must lie from -1 to 1",
        ),
        ("--icc inf", "'--icc <CORRELATION>': must lie from 0 to 1"),
        ("--tasks 0", "'--tasks <N>'"),
        ("--tasks 5 --samples 0", "'--samples <N>'"),
        ("--tasks 5 --epochs 0", "'--epochs <N>'"),
        ("--samples 3", "--tasks <N>"),
        ("--epochs 3", "<SUITE|TASK|--tasks <N>>"),
        ("--rates 0.1", "--gate <RATE>"),
        ("suite.yaml --tasks 3", "cannot be used with"),
    ] {
        let shot = context.run(&format!("power {args}")).expect(2);
        assert!(
            shot.stdout.is_empty() && shot.stderr.contains(what),
            "{args}: {}",
            shot.text
        );
    }
}

#[test]
fn plans_that_can_not_be_made_say_why() {
    let context = Context::new();
    insta::assert_snapshot!(context.run("power --gate 0.1 --rates 0.1").text, @r"
    exit code: 2
    --- stderr
    error: no plan can be made: the number of units for a gate is undefined: at the threshold itself nothing may be shown
    ");
    insta::assert_snapshot!(context.run("power --between 0 --within 0 --detect 0.1").text, @r"
    exit code: 2
    --- stderr
    error: no plan can be made: a sample size is undefined: no variance is assumed, so one sample would prove anything
    ");
    insta::assert_snapshot!(context.run("power --tasks 18446744073709551615 --samples 9").text, @r"
    exit code: 2
    --- stderr
    error: no plan can be made: the number of units is undefined: it is above a million million
    ");
    insta::assert_snapshot!(context.run("power --detect 0.0000001").text, @r"
    exit code: 2
    --- stderr
    error: no plan can be made: the number of units is undefined: it is above a million million
    ");
    insta::assert_snapshot!(context.run("power --detect 0.1 --alpha 0.99 --power 0.01").text, @r"
    exit code: 2
    --- stderr
    error: no plan can be made: a sample size is undefined: chance alone finds a difference more often than the wanted power
    ");
    insta::assert_snapshot!(context.run("power missing.yaml").text, @r"
    exit code: 2
    --- stderr
    error: failed to read missing.yaml: No such file or directory (os error 2)
    ");
    context.write("suite.yaml", "harness: 1\nid: s\nepochs: many\n");
    insta::assert_snapshot!(context.run("power suite.yaml").text, @r"
    exit code: 2
    --- stderr
    error: missing keys `models`, `scaffolds`, `tasks`
      --> suite.yaml:1:1
       |
     1 | harness: 1
       | ^^^^^^^

    error: expected a whole number, found `many`
      --> suite.yaml:3:9
       |
     3 | epochs: many
       |         ^^^^
    error: 2 problems in the input; nothing was run
    ");
}

/// The rates stand above the chances even if the first row has none.
#[test]
fn chances_have_their_rates_above_them() {
    let text = Context::new()
        .run("power --tasks 3000 --epochs 2 --gate 0.1 --rates 0,0.2")
        .text;
    let from = text.find("how likely the gate").unwrap();
    let table: Vec<&str> = text[from..].lines().skip(1).take(3).collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    as written  about             0 below                                 0.2 above
    by hand     these tasks       more than 5000 trials are not followed
    by hand     tasks like these  >99%                                    >99%
    ");
}

/// What one look at the end would take is said as it is known: by the successes that it would allow.
#[test]
fn designs_that_are_too_large_say_what_is_too_large() {
    let text = Context::new()
        .run("power --tasks 10 --gate 0.001 --rates 0.0015")
        .text;
    let row = text
        .lines()
        .find(|line| line.trim_start().starts_with("0.0015"))
        .unwrap();
    insta::assert_snapshot!(row.trim(), @"0.0015     above        above 5000         above 10000");
}
