//! The tree in Prometheus's text exposition format 0.0.4.
//!
//! Values are in base units, and names of monotonic counters end in `_total`. The zone is a label; keys, tags and URLs
//! never are.

use std::fmt::{self, Display, Write};

use super::tree::{Buckets, Delivered, Forwarded, Tree, Zone};

/// The media type of the text that [`exposition`] writes.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The labels besides the zone, and a value.
type Sample = (Vec<(&'static str, String)>, f64);

/// A metric family, with its samples for a zone.
struct Family {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: fn(&Zone) -> Vec<Sample>,
}

/// All families except the histograms.
const FAMILIES: &[Family] = &[
    gauge("size_bytes", "Size of the zone in bytes.", |z| one(z.size)),
    gauge("used_bytes", "Bytes of the zone by use.", |z| {
        let used = z.used;
        by(
            "use",
            [
                ("bodies", used.bodies),
                ("heads", used.heads),
                ("encodings", used.encodings),
                ("index", used.index),
                ("free", used.free),
            ],
        )
    }),
    gauge("entries", "Stored responses and markers by state.", |z| {
        let entries = z.entries;
        by(
            "state",
            [
                ("fresh", entries.fresh),
                ("stale", entries.stale),
                ("filling", entries.filling),
                ("markers", entries.markers),
            ],
        )
    }),
    gauge(
        "restored_entries",
        "Entries that the last start restored from the file.",
        |z| one(z.restored),
    ),
    counter(
        "responses_total",
        "Responses to clients, by $swr_cache_status.",
        |z| {
            by(
                "status",
                statuses(z).map(|(status, counts)| (status, counts.responses)),
            )
        },
    ),
    counter(
        "response_bytes_total",
        "Bytes of bodies sent to clients, by $swr_cache_status.",
        |z| {
            by(
                "status",
                statuses(z).map(|(status, counts)| (status, counts.bytes)),
            )
        },
    ),
    counter(
        "responses_written_total",
        "Responses that were stored on their way to the client.",
        |z| {
            by(
                "status",
                forwarded(z).map(|(status, counts)| (status, counts.responses_written)),
            )
        },
    ),
    counter(
        "written_bytes_total",
        "Bytes of the bodies of responses that were stored on their way to the client.",
        |z| {
            by(
                "status",
                forwarded(z).map(|(status, counts)| (status, counts.bytes_written)),
            )
        },
    ),
    counter(
        "reasons_total",
        "Responses to clients, by $swr_cache_reason.",
        |z| {
            z.reasons
                .iter()
                .map(|(word, n)| (vec![("reason", word.clone())], *n as f64))
                .collect()
        },
    ),
    counter(
        "refreshes_started_total",
        "Background refreshes started.",
        |z| one(z.refresh.started),
    ),
    counter(
        "refreshes_total",
        "Background refreshes by outcome; deferred: swr_cache_refresh_max was reached.",
        |z| {
            let refresh = z.refresh;
            by(
                "outcome",
                [
                    ("modified", refresh.modified),
                    ("not_modified", refresh.not_modified),
                    ("failed", refresh.failed),
                    ("deferred", refresh.deferred),
                ],
            )
        },
    ),
    gauge(
        "refreshes_in_flight",
        "Fetches of stored responses in progress.",
        |z| one(z.refresh.in_flight),
    ),
    gauge(
        "refreshes_backing_off",
        "Entries whose pause after a failed refresh is in force.",
        |z| one(z.refresh.backing_off),
    ),
    counter(
        "collapsed_requests_total",
        "Requests that shared the fetch of another one.",
        |z| one(z.collapsed),
    ),
    counter("origin_requests_total", "Requests to the origin.", |z| {
        one(z.origin.requests)
    }),
    counter(
        "origin_bytes_total",
        "Bytes of bodies that the origin sent.",
        |z| one(z.origin.bytes),
    ),
    counter(
        "origin_saved_requests_total",
        "Responses to clients that caused no request to the origin.",
        |z| one(z.origin.saved_requests),
    ),
    counter(
        "origin_saved_bytes_total",
        "Bytes of bodies sent to clients that the origin did not send.",
        |z| one(z.origin.saved_bytes),
    ),
    counter(
        "encodings_made_total",
        "Encoded forms made of stored responses.",
        |z| coded(z, |counts| counts.made),
    ),
    counter(
        "encodings_saved_bytes_total",
        "Bytes saved by encoded forms, compared with the originals.",
        |z| coded(z, |counts| counts.bytes_saved),
    ),
    counter(
        "encoded_responses_total",
        "Responses sent in an encoded form made by the cache.",
        |z| coded(z, |counts| counts.served),
    ),
    counter("evictions_total", "Evicted entries by cause.", |z| {
        let evicted = z.evicted;
        by(
            "cause",
            [
                ("space", evicted.space),
                ("inactive", evicted.inactive),
                ("variants", evicted.variants),
            ],
        )
    }),
    counter(
        "purges_total",
        "Purges by what they selected and by mode.",
        |z| {
            let modes = |(by, counts): (&String, &super::tree::Purges)| {
                let sample = |mode: &str, n: u64| {
                    (
                        vec![("by", by.clone()), ("mode", mode.to_owned())],
                        n as f64,
                    )
                };
                [sample("hard", counts.hard), sample("soft", counts.soft)]
            };
            z.purges.iter().flat_map(modes).collect()
        },
    ),
    counter(
        "purged_entries_total",
        "Responses that purges have found.",
        |z| one(z.purged),
    ),
    counter("dead_workers_total", "Dead processes reclaimed.", |z| {
        one(z.recovery.dead_workers)
    }),
    counter(
        "repairs_total",
        "Repairs after a process died during an allocation.",
        |z| one(z.recovery.repairs),
    ),
    counter(
        "damaged_entries_total",
        "Entries found damaged and dropped.",
        |z| one(z.recovery.damaged),
    ),
];

/// A histogram, and the label that distinguishes it from others of the same name.
type Labelled<'a> = (Option<(&'static str, &'a str)>, &'a Buckets);

/// A histogram family: one per zone, or one per zone and value of a label.
struct Distribution {
    name: &'static str,
    help: &'static str,
    of: fn(&Zone) -> Vec<Labelled<'_>>,
}

const DISTRIBUTIONS: &[Distribution] = &[
    Distribution {
        name: "waited_seconds",
        help: "How long clients waited for a revalidation inside the stale-while-revalidate window.",
        of: |z| vec![(None, &z.waited.seconds)],
    },
    Distribution {
        name: "origin_seconds",
        help: "How long requests to the origin took, by outcome.",
        of: |z| {
            let outcomes = z.origin.seconds.iter();
            outcomes
                .map(|(outcome, buckets)| (Some(("outcome", outcome.as_str())), buckets))
                .collect()
        },
    },
    Distribution {
        name: "stale_age_seconds",
        help: "How stale the stale responses were when they were served.",
        of: |z| vec![(None, &z.stale_age)],
    },
];

const fn gauge(
    name: &'static str,
    help: &'static str,
    samples: fn(&Zone) -> Vec<Sample>,
) -> Family {
    Family {
        name,
        kind: "gauge",
        help,
        samples,
    }
}

const fn counter(
    name: &'static str,
    help: &'static str,
    samples: fn(&Zone) -> Vec<Sample>,
) -> Family {
    Family {
        name,
        kind: "counter",
        help,
        samples,
    }
}

fn one(value: u64) -> Vec<Sample> {
    vec![(Vec::new(), value as f64)]
}

fn by<const N: usize>(label: &'static str, counts: [(&str, u64); N]) -> Vec<Sample> {
    counts
        .map(|(value, n)| (vec![(label, value.to_owned())], n as f64))
        .into()
}

fn coded(zone: &Zone, count: fn(&super::tree::CodingCounts) -> u64) -> Vec<Sample> {
    let codings = zone.encoded.iter();
    codings
        .map(|(coding, counts)| (vec![("coding", coding.clone())], count(counts) as f64))
        .collect()
}

fn forwarded(zone: &Zone) -> [(&'static str, Forwarded); 3] {
    [
        ("expired", zone.expired),
        ("miss", zone.miss),
        ("bypass", zone.bypass),
    ]
}

fn statuses(zone: &Zone) -> [(&'static str, Delivered); 7] {
    let whole = |counts: Forwarded| Delivered {
        responses: counts.responses,
        bytes: counts.bytes,
    };
    [
        ("hit", zone.hit),
        ("stale", zone.stale),
        ("updating", zone.updating),
        ("revalidated", zone.revalidated),
        ("expired", whole(zone.expired)),
        ("miss", whole(zone.miss)),
        ("bypass", whole(zone.bypass)),
    ]
}

/// Writes the tree in Prometheus's text format: each family once, with `HELP` and `TYPE`, and its samples for each
/// zone.
pub fn exposition(tree: &Tree) -> String {
    let mut out = String::with_capacity(16 * 1024 * tree.zones.len().max(1));
    // Writing to a string can't fail.
    let _ = write_all(&mut out, tree);
    out
}

fn write_all(out: &mut String, tree: &Tree) -> fmt::Result {
    head(out, "build_info", "gauge", "The version of swrcache.")?;
    let version = tree.version.replace(['\\', '"', '\n'], "_");
    writeln!(out, "swr_cache_build_info{{version=\"{version}\"}} 1")?;
    for family in FAMILIES {
        head(out, family.name, family.kind, family.help)?;
        for (name, zone) in &tree.zones {
            for (labels, value) in (family.samples)(zone) {
                sample(
                    out,
                    family.name,
                    &Labels {
                        zone: name,
                        rest: &labels,
                    },
                    value,
                )?;
            }
        }
    }
    for distribution in DISTRIBUTIONS {
        head(out, distribution.name, "histogram", distribution.help)?;
        for (name, zone) in &tree.zones {
            for (label, buckets) in (distribution.of)(zone) {
                let label = label.map(|(label, value)| (label, value.to_owned()));
                histogram(out, distribution.name, (name, label), buckets)?;
            }
        }
    }
    Ok(())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP swr_cache_{name} {help}")?;
    writeln!(out, "# TYPE swr_cache_{name} {kind}")
}

fn histogram(
    out: &mut String,
    name: &str,
    (zone, label): (&str, Option<(&'static str, String)>),
    buckets: &Buckets,
) -> fmt::Result {
    let mut labels: Vec<_> = label.into_iter().collect();
    let (bucket, sum, count) = (
        format!("{name}_bucket"),
        format!("{name}_sum"),
        format!("{name}_count"),
    );
    sample(
        out,
        &sum,
        &Labels {
            zone,
            rest: &labels,
        },
        buckets.sum,
    )?;
    sample(
        out,
        &count,
        &Labels {
            zone,
            rest: &labels,
        },
        buckets.count as f64,
    )?;
    labels.push(("le", String::new()));
    let at = labels.len() - 1;
    let above = (f64::INFINITY, buckets.count);
    let all = buckets
        .buckets
        .iter()
        .map(|b| (b.le, b.count))
        .chain([above]);
    for (le, n) in all {
        labels[at].1 = match le.is_finite() {
            true => le.to_string(),
            false => "+Inf".to_owned(),
        };
        sample(
            out,
            &bucket,
            &Labels {
                zone,
                rest: &labels,
            },
            n as f64,
        )?;
    }
    Ok(())
}

fn sample(out: &mut String, name: &str, labels: &Labels<'_>, value: f64) -> fmt::Result {
    writeln!(out, "swr_cache_{name}{labels} {value}")
}

/// The labels of a sample, the zone first.
struct Labels<'a> {
    zone: &'a str,
    rest: &'a [(&'static str, String)],
}

impl Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{zone=\"{}\"", Escaped(self.zone))?;
        for (name, value) in self.rest {
            write!(f, ",{name}=\"{}\"", Escaped(value))?;
        }
        f.write_str("}")
    }
}

/// The value of a label, escaped as the format requires.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::counter::{Counter, HISTOGRAMS, PLACES};
    use super::super::histogram::Histogram;
    use super::super::read::{Gauges, zone};
    use super::*;
    use crate::engine::verdict::Status;

    fn tree(name: &str) -> Tree {
        let mut counts = [0; PLACES];
        counts[Counter::Responses(Status::Hit).place()] = 12;
        for (place, n) in Histogram::Waited.adds(HISTOGRAMS, 7) {
            counts[place] += n;
        }
        Tree {
            version: "1.2.3".to_owned(),
            zones: [(name.to_owned(), zone(&counts, Gauges::default()))].into(),
            ..Tree::default()
        }
    }

    #[test]
    fn each_family_has_its_head_and_its_samples() {
        let text = exposition(&tree("main"));
        for line in [
            "# TYPE swr_cache_responses_total counter",
            "swr_cache_responses_total{zone=\"main\",status=\"hit\"} 12",
            "swr_cache_waited_seconds_bucket{zone=\"main\",le=\"0.005\"} 0",
            "swr_cache_waited_seconds_bucket{zone=\"main\",le=\"0.01\"} 1",
            "swr_cache_waited_seconds_bucket{zone=\"main\",le=\"+Inf\"} 1",
            "swr_cache_waited_seconds_sum{zone=\"main\"} 0.007",
            "swr_cache_origin_seconds_count{zone=\"main\",outcome=\"failed\"} 0",
            "swr_cache_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        let text = exposition(&tree("a\"b\\c\nd"));
        assert!(text.contains(r#"{zone="a\"b\\c\nd"}"#), "{text}");
        assert!(
            text.lines()
                .all(|l| l.starts_with('#') || l.starts_with("swr_cache_"))
        );
    }
}
