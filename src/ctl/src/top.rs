//! The statistics live, in a terminal.

use std::cmp::Reverse;
use std::io::{Write, stdout};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};
use swrcache::engine::stats::{Tree, Zone};

use crate::arguments::Top;
use crate::client::Location;
use crate::status::{ago, fetch, lines};
use crate::{End, Ended};

/// Looks that are remembered.
const KEPT: usize = 300;

/// What is shown.
struct Screen {
    tree: Tree,
    /// Which zone.
    zone: usize,
    /// Responses a second, by zone, the last look last.
    rates: Vec<(String, Vec<u64>)>,
    trouble: Option<String>,
}

pub(crate) fn run(top: &Top, json: bool) -> Ended {
    let location = Location::new(&top.server.node.node);
    if json {
        return lines_of_json(&location, top);
    }
    let (tree, _) = fetch(&location, top.server.zone.as_deref())?;
    let mut screen = Screen {
        zone: most_telling(&tree),
        tree,
        rates: Vec::new(),
        trouble: None,
    };
    let mut terminal = ratatui::try_init().map_err(|e| format!("no terminal: {e}"))?;
    let ended = show(&mut terminal, &mut screen, &location, top);
    ratatui::restore();
    ended
}

/// A line for each look, for another program; it ends with whoever reads it.
fn lines_of_json(location: &Location, top: &Top) -> Ended {
    loop {
        let (_, text) = fetch(location, top.server.zone.as_deref())?;
        if write!(stdout(), "{text}").is_err() {
            return Ok(End::Done);
        }
        sleep(Duration::from_secs(top.every));
    }
}

/// The zone that fails, else the one that is asked for most.
fn most_telling(tree: &Tree) -> usize {
    let weights = tree.zones.values();
    let weights = weights.map(|zone| (zone.refresh.backing_off, responses(zone)));
    let numbered = weights.enumerate();
    let most = numbered.max_by_key(|(number, weight)| (*weight, Reverse(*number)));
    most.map_or(0, |(number, _)| number)
}

fn show(
    terminal: &mut DefaultTerminal,
    screen: &mut Screen,
    location: &Location,
    top: &Top,
) -> Ended {
    let every = Duration::from_secs(top.every);
    let mut next = Instant::now() + every;
    loop {
        let failed = |e: std::io::Error| format!("the terminal: {e}");
        terminal.draw(|frame| screen.draw(frame)).map_err(failed)?;
        if event::poll(next.saturating_duration_since(Instant::now())).map_err(failed)? {
            match event::read().map_err(failed)? {
                Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(End::Done),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        return Ok(End::Done);
                    }
                    KeyCode::Tab | KeyCode::Right | KeyCode::Down => screen.turn(1),
                    KeyCode::BackTab | KeyCode::Left | KeyCode::Up => screen.turn(-1),
                    _ => {}
                },
                _ => {}
            }
            continue;
        }
        next = Instant::now() + every;
        match fetch(location, top.server.zone.as_deref()) {
            Ok((tree, _)) => screen.take(tree),
            Err(why) => screen.trouble = Some(why),
        }
    }
}

fn responses(zone: &Zone) -> u64 {
    zone.hit.responses
        + zone.updating.responses
        + zone.stale.responses
        + zone.revalidated.responses
        + zone.expired.responses
        + zone.miss.responses
        + zone.bypass.responses
}

impl Screen {
    fn turn(&mut self, by: isize) {
        let count = self.tree.zones.len().max(1) as isize;
        self.zone = (self.zone as isize + by).rem_euclid(count) as usize;
    }

    fn take(&mut self, tree: Tree) {
        self.trouble = None;
        let seconds = (tree.time - self.tree.time).max(0.001);
        for (name, zone) in &tree.zones {
            let Some(before) = self.tree.zones.get(name) else {
                continue;
            };
            let more = responses(zone).saturating_sub(responses(before));
            let rate = (more as f64 / seconds).round() as u64;
            match self.rates.iter_mut().find(|(known, _)| known == name) {
                Some((_, rates)) => {
                    rates.push(rate);
                    if rates.len() > KEPT {
                        rates.remove(0);
                    }
                }
                None => self.rates.push((name.clone(), vec![rate])),
            }
        }
        self.tree = tree;
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let failing = self
            .tree
            .zones
            .values()
            .any(|zone| !zone.failing.is_empty());
        let color = if failing { Color::Red } else { Color::Green };
        let [head, facts, chart, below, foot] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(9),
            Constraint::Length(6),
            Constraint::Min(5),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let summary = Line::from(self.tree.summary.as_str()).style(Style::new().fg(color).bold());
        let wrap = ratatui::widgets::Wrap { trim: true };
        frame.render_widget(Paragraph::new(summary).wrap(wrap), head);
        if let Some((name, zone)) = self.tree.zones.iter().nth(self.zone) {
            draw_facts(frame, facts, name, zone);
            self.draw_rates(frame, chart, name);
            self.draw_lists(frame, below, zone);
        }
        let keys = "q ends, Tab shows the next zone";
        let foot_line = match &self.trouble {
            Some(why) => Line::from(why.as_str()).fg(Color::Red),
            None => Line::from(keys).dim(),
        };
        frame.render_widget(foot_line, foot);
    }

    fn draw_rates(&self, frame: &mut Frame<'_>, area: Rect, name: &str) {
        let rates = self.rates.iter().find(|(known, _)| known == name);
        let rates = rates.map_or(&[][..], |(_, rates)| rates);
        let shown = &rates[rates.len().saturating_sub(usize::from(area.width))..];
        let now = rates.last().copied().unwrap_or(0);
        let title = format!(" {now} responses a second ");
        let chart = Sparkline::default()
            .data(shown)
            .style(Style::new().fg(Color::Blue));
        frame.render_widget(chart.block(Block::bordered().title(title)), area);
    }

    fn draw_lists(&self, frame: &mut Frame<'_>, area: Rect, zone: &Zone) {
        let halves = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]);
        let [upper, lower] = halves.areas(area);
        let failing = zone.failing.iter().map(|entry| {
            Row::new([
                Cell::from(entry.key.as_str()),
                Cell::from(entry.cause.as_str()).fg(Color::Red),
                Cell::from(ago(self.tree.time - entry.since)),
            ])
        });
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(18),
            Constraint::Length(8),
        ];
        let title = format!(
            " failing: {} ",
            zone.refresh.backing_off.max(zone.failing.len() as u64)
        );
        let table = Table::new(failing, widths).block(Block::bordered().title(title));
        frame.render_widget(table, upper);
        let keys = zone
            .top
            .keys
            .iter()
            .map(|tally| Row::new([tally.name.clone(), tally.hits.to_string()]));
        let widths = [Constraint::Fill(1), Constraint::Length(12)];
        let table = Table::new(keys, widths).block(Block::bordered().title(" asked for most "));
        frame.render_widget(table, lower);
    }
}

fn draw_facts(frame: &mut Frame<'_>, area: Rect, name: &str, zone: &Zone) {
    let rows = lines(zone)
        .into_iter()
        .map(|(name, text)| Row::new([Cell::from(name).dim(), Cell::from(text)]));
    let title = format!(" zone {name} ");
    let widths = [Constraint::Length(10), Constraint::Fill(1)];
    frame.render_widget(
        Table::new(rows, widths).block(Block::bordered().title(title)),
        area,
    );
}
