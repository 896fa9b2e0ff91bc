//! What one pick knows of each endpoint: whether it takes part, and how loaded it is.

use fastrand::Rng;

use crate::{
    HashKey,
    area::Area,
    elsewhere::Elsewhere,
    health::{Costs, Standing},
    members::Members,
    node::Node,
    pick::Candidates,
    shared::Shared,
};

/// Reasons to leave an endpoint out, which are given up one after the other when nothing is left.
const SLOW_START: u8 = 1;
const TRIED: u8 = 2;
const UNFIT: u8 = 4;

/// The endpoints of a snapshot, as one pick sees them.
pub(crate) struct Field<'a, 'b, S> {
    /// Nothing but its standing can leave an endpoint out.
    plain: bool,
    shared: &'a Shared<S>,
    members: &'a Members<S>,
    area: &'a Area<'a>,
    rng: &'a mut Rng,
    elsewhere: &'a Elsewhere<'b>,
    relaxed: u8,
    refused: u8,
    panicking: Option<bool>,
    costs: Option<Costs<'a>>,
    /// The part of one endpoint of average weight in a unit of weight, where costs count.
    unit: f64,
    /// The call has begun at the endpoint that is picked.
    begun: bool,
}

impl<'a, 'b, S: Clone + Send + Sync + 'static> Field<'a, 'b, S> {
    #[inline]
    pub(crate) fn new(
        shared: &'a Shared<S>,
        members: &'a Members<S>,
        area: &'a Area<'a>,
        rng: &'a mut Rng,
        elsewhere: &'a Elsewhere<'b>,
    ) -> Self {
        let costs = shared.health.costs();
        let len = area.places.map_or(members.entries.len(), <[u32]>::len);
        let unit = if costs.is_some() { len as f64 / area.weights.max(1) as f64 } else { 0.0 };
        Self {
            plain: !shared.asks_services()
                && elsewhere.tried.is_none()
                && elsewhere.left.is_empty(),
            shared,
            members,
            area,
            rng,
            elsewhere,
            relaxed: 0,
            refused: 0,
            panicking: area.panicking,
            costs,
            unit,
            begun: false,
        }
    }
}

impl<S> Field<'_, '_, S> {
    /// Gives up the next reason that has left an endpoint out, if there is one.
    /// Only with `anyone` those who fail or were tried.
    pub(crate) fn relax(&mut self, anyone: bool) -> Option<()> {
        let reasons = [SLOW_START, TRIED, UNFIT];
        let reasons = if anyone { &reasons[..] } else { &reasons[..1] };
        let next =
            reasons.iter().copied().find(|reason| self.refused & !self.relaxed & reason != 0)?;
        self.relaxed |= next;
        Some(())
    }

    /// Whether the call has begun at the endpoint that is picked.
    pub(crate) fn begun(&self) -> bool {
        self.begun
    }

    /// A number from 0 to 1 by which an endpoint takes part; for calls of one key the same one, so
    /// that a key moves once in a slow start.
    fn chance(&mut self) -> f64 {
        match self.elsewhere.key {
            Some(key) => key.fraction(),
            None => self.rng.f64(),
        }
    }

    fn refuse(&mut self, reason: u8) -> bool {
        self.refused |= reason;
        self.relaxed & reason == 0
    }

    fn panicking(&mut self) -> bool {
        *self.panicking.get_or_insert_with(|| self.shared.health.panicking())
    }
}

impl<S: Clone + Send + Sync + 'static> Field<'_, '_, S> {
    /// The share of an endpoint about which there is something to say.
    fn share_of(&mut self, at: usize, by_chance: bool) -> Option<f64> {
        let entry = &self.members.entries[self.area.place(at)];
        let node = &*entry.node;
        if self.elsewhere.left.holds(node) {
            return None;
        }
        if self.elsewhere.tried.is_some_and(|tried| tried.contains(node.id())) && self.refuse(TRIED)
        {
            return None;
        }
        let mut fit = !entry.critical;
        let mut share = 1.0;
        match self.shared.health.standing(node) {
            Standing::In(part) => share = part,
            Standing::Ejected => fit = false,
            Standing::Broken => {
                if !entry.link.may_retry(self.shared.clock().now()) {
                    return None;
                }
            }
        }
        if !fit && !self.panicking() && self.refuse(UNFIT) {
            return None;
        }
        if self.shared.asks_services() {
            let admission = self.shared.admission(entry);
            self.shared.health.note(node, admission);
            if !admission.admits() && self.refuse(UNFIT) {
                return None;
            }
        }
        if by_chance && share < 1.0 && self.chance() >= share && self.refuse(SLOW_START) {
            return None;
        }
        Some(share)
    }
}

impl<S: Clone + Send + Sync + 'static> Candidates for Field<'_, '_, S> {
    fn len(&self) -> usize {
        self.area.places.map_or(self.members.entries.len(), <[u32]>::len)
    }

    #[inline]
    fn draw(&mut self) -> usize {
        self.area.table.draw(self.len(), self.rng)
    }

    #[inline]
    fn turn(&mut self) -> usize {
        self.area.table.at(self.area.turn.next())
    }

    fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    #[inline(always)]
    fn share(&mut self, at: usize) -> Option<f64> {
        let entry = &self.members.entries[self.area.place(at)];
        // Without a call, so that the processor fetches two candidates at once.
        if self.plain && !entry.critical && entry.node.state().is_plain() {
            return Some(1.0);
        }
        self.share_of(at, true)
    }

    #[inline]
    fn part(&mut self, at: usize) -> Option<f64> {
        let entry = &self.members.entries[self.area.place(at)];
        if self.plain && !entry.critical && entry.node.state().is_plain() {
            return Some(1.0);
        }
        self.share_of(at, false)
    }

    #[inline]
    fn load(&self, at: usize) -> f64 {
        let node = &self.members.entries[self.area.place(at)].node;
        let in_flight = node.in_flight() as f64;
        match &self.costs {
            None => in_flight,
            // The call to be made counts for its part of the endpoint's weight, so that those that
            // are idle and equally fast tie, whatever their weights.
            Some(costs) => (in_flight + self.weight(at) * self.unit) * f64::from(costs.of(node)),
        }
    }

    #[inline]
    fn weight(&self, at: usize) -> f64 {
        self.members.entries[self.area.place(at)].weight.into()
    }

    fn node(&self, at: usize) -> &Node {
        &self.members.entries[self.area.place(at)].node
    }

    fn key(&self) -> Option<HashKey> {
        self.elsewhere.key
    }

    fn in_flight(&self, at: usize) -> f64 {
        self.members.entries[self.area.place(at)].node.in_flight() as f64
    }

    fn take(&mut self, at: usize, percent: u32) -> bool {
        let entry = &self.members.entries[self.area.place(at)];
        let health = &self.shared.health;
        let (well, all) = if self.panicking() { (1, 1) } else { health.well() };
        let calls = u128::from(health.in_flight() + 1);
        // The share of those that are out goes to the others.
        let most = calls * u128::from(percent) * u128::from(entry.weight) * u128::from(all);
        let cap = most.div_ceil(100 * u128::from(self.area.weights.max(1)) * u128::from(well));
        let node = &entry.node;
        if u128::from(node.in_flight()) >= cap {
            return false;
        }
        node.begin();
        // Others may have begun meanwhile: then each gives way.
        if u128::from(node.in_flight()) > cap {
            node.end_unsent();
            return false;
        }
        self.begun = true;
        true
    }
}
