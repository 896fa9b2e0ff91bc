//! The states of a breaker, and the word that holds one of them with its generation.

/// What a breaker does with the next call.
///
/// ```text
///             enough failures                    wait over
///   ┌────────┐ ────────────────▶ ┌────────┐ ────────────────▶ ┌───────────┐
///   │ closed │                   │  open  │                   │ half-open │
///   └────────┘                   └────────┘ ◀──────────────── └───────────┘
///       ▲                                     a probe failed        │
///       └───────────────────────────────────────────────────────────┘
///                            enough probes succeeded
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum State {
    /// Calls pass, and their outcomes are counted.
    Closed,
    /// Calls are refused until the wait is over.
    Open,
    /// A few calls pass as probes; all others are refused.
    HalfOpen,
}

impl State {
    /// `closed`, `open` or `half_open`: the form that logs and metrics use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who decides: the breaker, or an operator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Mode {
    /// Outcomes decide.
    #[default]
    Automatic,
    /// Every call is refused.
    ForcedOpen,
    /// Every call passes; outcomes are counted, and open nothing.
    ForcedClosed,
    /// Every call passes, and nothing is counted.
    Disabled,
    /// Every call passes, while the states change and are reported as if calls were refused: to try
    /// a configuration on live traffic.
    Shadow,
}

/// State, mode, flags and generation in one word, so that one load is a decision.
///
/// A generation is one stay in one state under one configuration. It lives in the upper 56 bits,
/// which last for centuries at a million changes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

const STATE: u64 = 0b11;
const RAMP: u64 = 1 << 2;
const MODE_SHIFT: u32 = 3;
const MODE: u64 = 0b111 << MODE_SHIFT;
const TIMED: u64 = 1 << 6;
const IN_FLIGHT: u64 = 1 << 7;
const FLAGS: u64 = 0xff;
const GENERATION_SHIFT: u32 = 8;

impl Word {
    /// Closed, in its first generation.
    pub(crate) const fn new(mode: Mode) -> Self {
        Self((1 << GENERATION_SHIFT) | (mode as u64) << MODE_SHIFT)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Closed, automatic, and nothing to measure or to ration: admission is this one test.
    pub(crate) const fn is_plain(self) -> bool {
        self.0 & FLAGS == 0
    }

    pub(crate) const fn state(self) -> State {
        match self.0 & STATE {
            0 => State::Closed,
            1 => State::Open,
            _ => State::HalfOpen,
        }
    }

    pub(crate) const fn mode(self) -> Mode {
        match (self.0 & MODE) >> MODE_SHIFT {
            0 => Mode::Automatic,
            1 => Mode::ForcedOpen,
            2 => Mode::ForcedClosed,
            3 => Mode::Disabled,
            _ => Mode::Shadow,
        }
    }

    /// Calls are rationed after closing.
    pub(crate) const fn is_ramping(self) -> bool {
        self.0 & RAMP != 0
    }

    /// The start of a call matters.
    pub(crate) const fn is_timed(self) -> bool {
        self.0 & TIMED != 0
    }

    /// Calls in flight are watched.
    pub(crate) const fn watches_in_flight(self) -> bool {
        self.0 & IN_FLIGHT != 0
    }

    pub(crate) const fn generation(self) -> u64 {
        self.0 >> GENERATION_SHIFT
    }

    /// `state` in the next generation; the mode and what is measured stay, a ramp does not.
    pub(crate) const fn enter(self, state: State) -> Self {
        let kept = self.0 & (MODE | TIMED | IN_FLIGHT);
        Self((self.generation() + 1) << GENERATION_SHIFT | kept | state as u64)
    }

    pub(crate) const fn with_mode(self, mode: Mode) -> Self {
        Self(self.0 & !MODE | (mode as u64) << MODE_SHIFT)
    }

    pub(crate) const fn with_ramp(self, on: bool) -> Self {
        self.with(RAMP, on)
    }

    pub(crate) const fn with_timed(self, on: bool) -> Self {
        self.with(TIMED, on)
    }

    pub(crate) const fn with_in_flight(self, on: bool) -> Self {
        self.with(IN_FLIGHT, on)
    }

    const fn with(self, flag: u64, on: bool) -> Self {
        if on { Self(self.0 | flag) } else { Self(self.0 & !flag) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_gives_back_what_was_put_in() {
        for mode in
            [Mode::Automatic, Mode::ForcedOpen, Mode::ForcedClosed, Mode::Disabled, Mode::Shadow]
        {
            for state in [State::Closed, State::Open, State::HalfOpen] {
                let first = Word::new(mode).with_timed(true).with_in_flight(true).with_ramp(true);
                let word = first.enter(state);
                assert_eq!((word.state(), word.mode()), (state, mode));
                assert_eq!(word.generation(), 2);
                assert!(word.is_timed() && word.watches_in_flight() && !word.is_ramping());
            }
        }
    }

    #[test]
    fn only_a_closed_automatic_unmeasured_word_is_plain() {
        let word = Word::new(Mode::Automatic);
        assert!(word.is_plain());
        assert!(!word.with_mode(Mode::Shadow).is_plain());
        assert!(!word.with_ramp(true).is_plain());
        assert!(!word.with_timed(true).is_plain());
        assert!(!word.enter(State::Open).is_plain());
        assert!(!word.enter(State::HalfOpen).is_plain());
        assert!(word.enter(State::Closed).is_plain());
    }
}
