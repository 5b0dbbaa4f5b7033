use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::{Buckets, Counter, Gauge, Histogram, Metrics};
use crate::worker;

/// The exposition without the process metrics and the build.
fn shown(metrics: &Metrics) -> String {
    let own = |line: &&str| {
        !["process_", "portcullis_build_info"].iter().any(|prefix| {
            line.trim_start_matches("# HELP ")
                .trim_start_matches("# TYPE ")
                .starts_with(prefix)
        })
    };
    let text = metrics.render();
    text.lines().filter(own).map(|l| format!("{l}\n")).collect()
}

#[test]
fn the_exposition_is_sorted_typed_and_escaped() {
    let metrics = Metrics::new(1, 100);
    let _odd = metrics.counter("b_total", "Two\nlines \\.", &[("path", "a\"b\\c\nd")]);
    let two = metrics.counter("a_total", "First.", &[("z", "1"), ("c", "2")]);
    let one = metrics.counter("a_total", "First.", &[("c", "1"), ("z", "1")]);
    let gauge = metrics.gauge("level", "A level.", &[]);
    one.add(7);
    two.inc();
    gauge.add(-3);
    assert_eq!(
        shown(&metrics),
        "# HELP a_total First.\n\
         # TYPE a_total counter\n\
         a_total{c=\"1\",z=\"1\"} 7\n\
         a_total{c=\"2\",z=\"1\"} 1\n\
         # HELP b_total Two\\nlines \\\\.\n\
         # TYPE b_total counter\n\
         b_total{path=\"a\\\"b\\\\c\\nd\"} 0\n\
         # HELP level A level.\n\
         # TYPE level gauge\n\
         level -3\n"
    );
}

#[test]
fn a_histogram_shows_cumulative_buckets_in_its_unit() {
    let metrics = Metrics::new(4, 100);
    let buckets = Buckets::new(&[1_000, 2_000], 1_000);
    let histogram = metrics.histogram("wait_seconds", "Waits.", buckets, &[("q", "x")]);
    for raw in [0, 1_000, 1_001, 2_500] {
        histogram.observe(raw);
    }
    assert_eq!(
        shown(&metrics),
        "# HELP wait_seconds Waits.\n\
         # TYPE wait_seconds histogram\n\
         wait_seconds_bucket{q=\"x\",le=\"1\"} 2\n\
         wait_seconds_bucket{q=\"x\",le=\"2\"} 3\n\
         wait_seconds_bucket{q=\"x\",le=\"+Inf\"} 4\n\
         wait_seconds_sum{q=\"x\"} 4.501\n\
         wait_seconds_count{q=\"x\"} 4\n"
    );
}

#[test]
fn latencies_are_shown_in_seconds() {
    let metrics = Metrics::new(1, 100);
    let histogram = metrics.histogram("t_seconds", "T.", Buckets::LATENCY, &[]);
    histogram.observe_duration(Duration::from_micros(1_500));
    histogram.observe_duration(Duration::MAX);
    let text = shown(&metrics);
    assert!(
        text.contains("t_seconds_bucket{le=\"0.0005\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("t_seconds_bucket{le=\"0.001\"} 0\n"),
        "{text}"
    );
    assert!(
        text.contains("t_seconds_bucket{le=\"0.0025\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("t_seconds_bucket{le=\"60\"} 1\n"), "{text}");
    assert!(text.contains("t_seconds_bucket{le=\"+Inf\"} 2\n"), "{text}");
}

#[test]
fn the_same_labels_in_any_order_are_one_series() {
    let metrics = Metrics::new(1, 100);
    let one = metrics.counter("x_total", "X.", &[("a", "1"), ("b", "2")]);
    let same = metrics.counter("x_total", "X.", &[("b", "2"), ("a", "1")]);
    one.inc();
    same.inc();
    assert_eq!(one.value(), 2);
}

#[test]
fn a_series_lives_as_long_as_a_handle() {
    let metrics = Metrics::new(2, 100);
    let old = metrics.counter("x_total", "X.", &[("route", "a")]);
    old.add(5);
    let renewed = metrics.counter("x_total", "X.", &[("route", "a")]);
    drop(old);
    assert_eq!(renewed.value(), 5, "re-acquired before the old one went");
    drop(renewed);
    assert_eq!(shown(&metrics), "");
    let new = metrics.counter("x_total", "X.", &[("route", "a")]);
    assert_eq!(new.value(), 0, "a value that is used again starts at zero");
}

#[test]
fn what_goes_beyond_the_bound_shares_one_series() {
    let metrics = Metrics::new(1, 2);
    let label_sets = ["a", "b", "c", "d"];
    let mut counters: Vec<Counter> = label_sets
        .iter()
        .map(|user| metrics.counter("x_total", "X.", &[("user", user)]))
        .collect();
    counters.iter().for_each(Counter::inc);
    assert_eq!(
        shown(&metrics),
        "# HELP portcullis_metrics_overflow_total Label sets that share the series `other` because their family was full.\n\
         # TYPE portcullis_metrics_overflow_total counter\n\
         portcullis_metrics_overflow_total{family=\"x_total\"} 2\n\
         # HELP x_total X.\n\
         # TYPE x_total counter\n\
         x_total{user=\"a\"} 1\n\
         x_total{user=\"b\"} 1\n\
         x_total{user=\"other\"} 2\n"
    );
    // Known label sets stay what they are, and a freed place can be taken again.
    assert_eq!(
        metrics.counter("x_total", "X.", &[("user", "b")]).value(),
        1
    );
    counters.remove(0);
    let _e = metrics.counter("x_total", "X.", &[("user", "e")]);
    let text = shown(&metrics);
    assert!(text.contains("x_total{user=\"e\"} 0\n"), "{text}");
    assert!(!text.contains("user=\"a\""), "{text}");
}

#[test]
fn the_bound_holds_for_other_label_names_too() {
    let metrics = Metrics::new(1, 1);
    let names = ["a", "b", "c", "d"];
    let held: Vec<Gauge> = names
        .iter()
        .map(|name| metrics.gauge("x", "X.", &[(name, "1")]))
        .collect();
    let text = shown(&metrics);
    let series = text.lines().filter(|line| line.starts_with("x{")).count();
    assert_eq!((held.len(), series), (4, 2), "{text}");
}

#[test]
fn another_type_under_a_known_name_counts_unseen() {
    let metrics = Metrics::new(1, 10);
    let _gauge = metrics.gauge("x_total", "A gauge.", &[]);
    let counter = metrics.counter("x_total", "A counter.", &[]);
    counter.inc();
    assert_eq!(counter.value(), 1);
    assert_eq!(
        shown(&metrics),
        "# HELP x_total A gauge.\n# TYPE x_total gauge\nx_total 0\n"
    );
}

#[test]
fn names_are_made_to_fit() {
    let metrics = Metrics::new(1, 10);
    let labels = [("le", "1"), ("__x", "2"), ("a-b", "3"), ("", "4")];
    let _counter = metrics.counter("9 lives", "H.", &labels);
    let text = shown(&metrics);
    assert!(
        text.ends_with("_9_lives_total{_=\"4\",a_b=\"3\",label_le=\"1\",label_x=\"2\"} 0\n"),
        "{text}"
    );
}

#[test]
fn callbacks_report_at_scrape_while_their_guard_lives() {
    let metrics = Metrics::new(1, 10);
    let _kept = metrics.gauge("kept", "Kept.", &[("k", "1")]);
    let inside = metrics.counter("inside_total", "Held by the callback.", &[]);
    let registry = metrics.clone();
    let guard = metrics.on_scrape(move |scrape| {
        inside.inc();
        // A callback may use the registry it is called by.
        drop(registry.counter("temporary_total", "T.", &[]));
        scrape.gauge("kept", "Kept.", &[("k", "2")], 0.5);
        scrape.gauge("kept", "Kept.", &[("k", "1")], 9.0);
        scrape.counter("seen", "Seen.", &[], f64::INFINITY);
    });
    let text = shown(&metrics);
    assert!(
        text.contains("kept{k=\"1\"} 0\nkept{k=\"2\"} 0.5\n"),
        "{text}"
    );
    assert!(
        text.contains("# TYPE seen_total counter\nseen_total +Inf\n"),
        "{text}"
    );
    drop(guard);
    let text = shown(&metrics);
    assert!(!text.contains("seen") && !text.contains("inside"), "{text}");
}

#[test]
fn what_callbacks_report_is_bounded_too() {
    let metrics = Metrics::new(1, 2);
    let guard = metrics.on_scrape(|scrape| {
        for user in ["a", "b", "c", "a", "d"] {
            scrape.counter("x", "X.", &[("user", user)], 2.0);
        }
        scrape.gauge("y", "Y.", &[], 1.0);
    });
    for _ in 0..2 {
        assert_eq!(
            shown(&metrics),
            "# HELP portcullis_metrics_overflow_total Label sets that share the series `other` because their family was full.\n\
             # TYPE portcullis_metrics_overflow_total counter\n\
             portcullis_metrics_overflow_total{family=\"x_total\"} 2\n\
             # HELP x_total X.\n\
             # TYPE x_total counter\n\
             x_total{user=\"a\"} 2\n\
             x_total{user=\"b\"} 2\n\
             x_total{user=\"other\"} 4\n\
             # HELP y Y.\n\
             # TYPE y gauge\n\
             y 1\n"
        );
    }
    drop(guard);
}

#[test]
fn additions_of_many_workers_add_up() {
    const WORKERS: usize = 6;
    const ROUNDS: usize = 20_000;
    let metrics = Metrics::new(4, 100);
    let counter = metrics.counter("x_total", "X.", &[]);
    let neighbour = metrics.counter("y_total", "Y.", &[]);
    let gauge = metrics.gauge("g", "G.", &[]);
    let histogram = metrics.histogram("h_bytes", "H.", Buckets::SIZE, &[]);
    std::thread::scope(|scope| {
        for index in 0..WORKERS {
            let (counter, gauge, histogram) = (&counter, &gauge, &histogram);
            scope.spawn(move || {
                worker::enter(index);
                for round in 0..ROUNDS {
                    counter.add(2);
                    gauge.inc();
                    histogram.observe(round as u64);
                }
                // Somebody else takes away what this worker put in.
                worker::enter(index + 1);
                (0..ROUNDS).for_each(|_| gauge.dec());
            });
        }
    });
    let total = (WORKERS * ROUNDS) as u64;
    assert_eq!(counter.value(), 2 * total);
    assert_eq!(neighbour.value(), 0);
    assert_eq!(gauge.value(), 0);
    assert_eq!(histogram.count(), total);
    gauge.set(-4);
    assert_eq!(gauge.value(), -4);
}

#[test]
fn series_may_come_and_go_while_somebody_scrapes() {
    let metrics = Metrics::new(2, 50);
    let kept = metrics.counter("x_total", "X.", &[("n", "kept")]);
    std::thread::scope(|scope| {
        for index in 0..3_usize {
            let metrics = &metrics;
            scope.spawn(move || {
                worker::enter(index);
                for round in 0..500_usize {
                    let name = (round * 7 % 80).to_string();
                    let one = metrics.counter("x_total", "X.", &[("n", &name)]);
                    let same = metrics.counter("x_total", "X.", &[("n", "kept")]);
                    one.inc();
                    same.inc();
                }
            });
        }
        for _ in 0..50 {
            assert!(metrics.render().contains("n=\"kept\""));
        }
    });
    assert_eq!(kept.value(), 1_500);
    let text = shown(&metrics);
    let series = text.lines().filter(|line| line.starts_with("x_total{"));
    assert_eq!(series.count(), 1, "{text}");
}

#[test]
fn handles_outlive_the_registry() {
    let metrics = Metrics::new(1, 10);
    let counter = metrics.counter("x_total", "X.", &[]);
    let guard = metrics.on_scrape(|_| {});
    drop(metrics);
    counter.inc();
    assert_eq!(counter.value(), 1);
    drop(guard);
}

#[test]
fn detached_handles_work() {
    let (counter, gauge) = (Counter::detached(), Gauge::detached());
    let histogram = Histogram::detached(Buckets::SIZE);
    counter.inc();
    gauge.dec();
    histogram.observe(u64::MAX);
    assert_eq!(
        (counter.value(), gauge.value(), histogram.count()),
        (1, -1, 1)
    );
    assert_eq!(format!("{counter:?}"), "Counter(detached = 1)");
}

#[cfg(target_os = "linux")]
#[test]
fn the_process_is_described() {
    let text = Metrics::new(1, 10).render();
    for name in [
        "process_resident_memory_bytes ",
        "process_cpu_seconds_total ",
        "process_open_fds ",
        "process_start_time_seconds ",
        "portcullis_build_info{version=",
    ] {
        assert!(
            text.contains(&format!("\n{name}")),
            "{name} missing in {text}"
        );
    }
}

proptest! {
    #[test]
    fn no_name_or_label_breaks_a_line(
        name in any::<String>(),
        label in any::<String>(),
        value in any::<String>(),
        help in any::<String>(),
    ) {
        let metrics = Metrics::new(1, 10);
        let held = Arc::new(metrics.counter(&name, &help, &[(&label, &value)]));
        let text = shown(&metrics);
        prop_assert_eq!(text.split('\n').count(), 4, "{}", text);
        let last = text.split('\n').nth(2).unwrap();
        prop_assert!(last.ends_with("\"} 0"), "{}", last);
        prop_assert_eq!(held.value(), 0);
    }
}
