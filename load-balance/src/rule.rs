//! Policies that users bring.

use std::{any::type_name, fmt, sync::Arc};

use seawall_core::{Endpoint, EndpointId};

use crate::{HashKey, node::Node, pick::Candidates};

/// A rule of the user's by which endpoints are picked: see [`Policy::custom`](crate::Policy::custom).
///
/// It sees one snapshot of the endpoints at a time, ordered by id, and names one of them by its
/// place there.
///
/// # Examples
///
/// The lesser loaded of the two heaviest:
///
/// ```
/// use seawall_core::Endpoint;
/// use seawall_load_balance::{Config, EndpointSet, Picker, Policy, Roster, Rule, View};
///
/// #[derive(Debug)]
/// struct Heaviest;
///
/// impl Rule for Heaviest {
///     type Table = Vec<usize>;
///
///     fn prepare(&self, roster: &Roster<'_>) -> Vec<usize> {
///         let mut heaviest: Vec<_> = (0..roster.len()).collect();
///         heaviest.sort_by_key(|at| std::cmp::Reverse(roster.weight(*at)));
///         heaviest.truncate(2);
///         heaviest
///     }
///
///     fn pick(&self, table: &Vec<usize>, view: &mut View<'_>) -> Option<usize> {
///         let fit = |at: &usize| view.share(*at).is_some();
///         let mut fit: Vec<_> = table.iter().copied().filter(fit).collect();
///         fit.sort_by(|a, b| view.load(*a).total_cmp(&view.load(*b)));
///         fit.first().copied()
///     }
/// }
///
/// let endpoint = |number: u16| Endpoint::new(number.to_string(), "h:1".parse().unwrap());
/// let set = (0..9).map(|number| endpoint(number).with_weight(number)).collect::<EndpointSet>();
/// let config = Config::builder().policy(Policy::custom(Heaviest)).build()?;
/// let mut picker = Picker::with_config(set, config);
/// let first = picker.pick().ok_or("no endpoint")?;
/// let second = picker.pick().ok_or("no endpoint")?;
/// assert_eq!((first.id().as_str(), second.id().as_str()), ("8", "7"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Rule: Send + Sync + 'static {
    /// What it prepares for one snapshot, so that picks are cheap.
    type Table: Send + Sync + 'static;

    /// Prepares a table, at each change of the set and off the path of calls.
    ///
    /// It runs under the set's lock and must not touch the set.
    fn prepare(&self, roster: &Roster<'_>) -> Self::Table;

    /// The place of an endpoint that may be picked ([`View::share`]).
    ///
    /// `None` when there is none: it is asked again then, with one reason less to leave endpoints
    /// out, until no reason is left. A place that does not exist counts as `None`.
    fn pick(&self, table: &Self::Table, view: &mut View<'_>) -> Option<usize>;
}

/// The endpoints of one snapshot that may get calls, ordered by id.
#[derive(Clone, Copy)]
pub struct Roster<'a> {
    listed: &'a dyn Listed,
}

/// A list of endpoints, whatever their services.
pub(crate) trait Listed {
    fn len(&self) -> usize;
    fn node(&self, at: usize) -> &Node;
    fn weight(&self, at: usize) -> u16;
}

impl<'a> Roster<'a> {
    pub(crate) fn new(listed: &'a dyn Listed) -> Self {
        Self { listed }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.listed.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What identifies the endpoint at this place.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    pub fn id(&self, at: usize) -> &'a EndpointId {
        self.listed.node(at).id()
    }

    /// Its weight, which is not 0.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    pub fn weight(&self, at: usize) -> u16 {
        self.listed.weight(at)
    }

    /// All that the set says of it.
    ///
    /// # Panics
    ///
    /// When there is no such place.
    pub fn endpoint(&self, at: usize) -> Arc<Endpoint> {
        self.listed.node(at).endpoint()
    }

    /// The weights, in order.
    pub(crate) fn weights(self) -> impl ExactSizeIterator<Item = u16> + Clone + use<'a> {
        (0..self.len()).map(move |at| self.weight(at))
    }
}

impl fmt::Debug for Roster<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries((0..self.len()).map(|at| self.id(at))).finish()
    }
}

/// The endpoints of a snapshot, as one pick sees them. Places are those of [`Roster`].
///
/// All methods that take a place panic when there is no such place.
pub struct View<'a> {
    of: &'a mut (dyn Candidates + 'a),
}

impl<'a> View<'a> {
    pub(crate) fn new(of: &'a mut (dyn Candidates + 'a)) -> Self {
        Self { of }
    }

    /// How many endpoints there are, at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.of.len()
    }

    /// What identifies an endpoint.
    pub fn id(&self, at: usize) -> &EndpointId {
        self.of.node(at).id()
    }

    /// Its calls in flight.
    pub fn in_flight(&self, at: usize) -> u64 {
        self.of.node(at).in_flight()
    }

    /// How loaded it is, relative to the part of its weight that it has now: its calls in flight,
    /// without its latency, which no rule of the user's is measured for.
    pub fn load(&mut self, at: usize) -> f64 {
        let share = self.of.share(at).unwrap_or(f64::MIN_POSITIVE);
        self.of.load(at) / (self.of.weight(at) * share)
    }

    /// Whether it may be picked, and with which part of its weight, above 0 and up to 1: an endpoint
    /// in slow start has less than all of it. `None` when it is ejected, refuses or was tried.
    pub fn share(&mut self, at: usize) -> Option<f64> {
        self.of.share(at)
    }

    /// A random place, in proportion to the weights. What is drawn may not be fit to be picked.
    pub fn draw(&mut self) -> usize {
        self.of.draw()
    }

    /// A random number below `bound`; repeatable with a [`seed`](crate::ConfigBuilder::seed).
    ///
    /// # Panics
    ///
    /// When `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        assert!(bound != 0, "no number is below 0");
        crate::pick::below(bound, self.of.rng())
    }

    /// What the call belongs to, if that was told.
    pub fn key(&self) -> Option<HashKey> {
        self.of.key()
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A [`Rule`] of any type, in [`Policy::Custom`](crate::Policy::Custom).
#[derive(Clone)]
pub struct CustomRule {
    rule: Arc<dyn Prepare>,
}

impl CustomRule {
    /// Picks by `rule`.
    pub fn new(rule: impl Rule) -> Self {
        Self { rule: Arc::new(Held(Arc::new(rule))) }
    }

    pub(crate) fn prepare(&self, roster: &Roster<'_>) -> Box<dyn PickBy> {
        self.rule.prepare(roster)
    }
}

/// Rules are equal when they are clones of one.
impl PartialEq for CustomRule {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.rule), Arc::as_ptr(&other.rule))
    }
}

impl fmt::Debug for CustomRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomRule").field(&self.rule.name()).finish()
    }
}

/// A rule whose table may have any type.
trait Prepare: Send + Sync {
    fn prepare(&self, roster: &Roster<'_>) -> Box<dyn PickBy>;
    fn name(&self) -> &'static str;
}

/// A rule together with its table.
pub(crate) trait PickBy: Send + Sync {
    fn pick(&self, view: &mut View<'_>) -> Option<usize>;
}

struct Held<P>(Arc<P>);

struct Prepared<P: Rule> {
    rule: Arc<P>,
    table: P::Table,
}

impl<P: Rule> Prepare for Held<P> {
    fn prepare(&self, roster: &Roster<'_>) -> Box<dyn PickBy> {
        let table = self.0.prepare(roster);
        Box::new(Prepared { rule: self.0.clone(), table })
    }

    fn name(&self) -> &'static str {
        type_name::<P>()
    }
}

impl<P: Rule> PickBy for Prepared<P> {
    fn pick(&self, view: &mut View<'_>) -> Option<usize> {
        self.rule.pick(&self.table, view).filter(|at| *at < view.len())
    }
}
