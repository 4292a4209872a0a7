//! Stateless packet filters: an ordered list of [`Rule`]s, the first that matches decides.
//!
//! A list is compiled once and then answers in a time that hardly depends on its length. Each header field cuts its
//! value space into *classes* whose values are matched by the same set of rules, and keeps that set as a bit vector,
//! bit *i* for rule *i*. A packet is seven small look-ups and the AND of seven vectors; the lowest bit left is the rule.
//! Vectors are stored without their empty words under a summary of which words are there ("aggregated bit vector",
//! Baboescu & Varghese, SIGCOMM 2001), so the AND touches only words in which every field has something:
//!
//! ```text
//!   src ─▶ class ─▶ summary 0…0110  words │ w1 │ w2 │
//!   dst ─▶ class ─▶ summary 0…0010  words │ w1 │          AND of summaries: 0…0010
//!   …                                                     AND of w1: 0…0101000 ─▶ rule 64 + 3
//! ```
//!
//! Fields that no rule of the list looks at cost nothing.
//!
//! Not implemented: stateful filtering (NAT sessions do that where NAT is on), layer 2 fields, IPv6.

mod compile;
mod field;
pub mod policer;
pub mod rule;

pub use compile::{CompileError, MAX_RULES};
pub use policer::{Policer, Unit};
pub use rule::{Action, Dscps, Fragment, Fragments, Key, Ports, Rule, RuleIndex, TcpFlags};

use field::{Field, Pool};

/// A compiled list. Immutable; a changed list is compiled anew and swapped in whole.
#[derive(Debug)]
pub struct Acl {
    actions: Box<[Action]>,
    /// Only fields that at least one rule constrains; `pool` holds their vectors.
    fields: Box<[Field]>,
    pool: Pool,
}

/// Fields a packet is judged by.
pub(crate) const FIELDS: usize = 7;

impl Acl {
    /// Compiles `rules`, first match first.
    pub fn compile(rules: &[Rule]) -> Result<Self, CompileError> {
        compile::compile(rules)
    }

    /// The first rule that matches, or none.
    #[inline]
    pub fn classify(&self, key: &Key) -> Option<RuleIndex> {
        let mut at = [0usize; FIELDS];
        let fields = self.fields.len();
        for (at, field) in at.iter_mut().zip(&self.fields) {
            *at = field.vector(key);
        }
        self.pool.first_common(&mut at[..fields], self.actions.len())
    }

    /// What `rule` does with a packet.
    #[inline]
    pub fn action(&self, rule: RuleIndex) -> Action {
        self.actions[rule.0 as usize]
    }

    /// Rules in the list.
    pub fn len(&self) -> usize {
        self.actions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Memory of the compiled form, in bytes.
    pub fn bytes(&self) -> usize {
        self.actions.len() * size_of::<Action>()
            + self.pool.bytes()
            + self.fields.iter().map(Field::bytes).sum::<usize>()
    }
}
