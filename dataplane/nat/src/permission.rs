//! Remote addresses a mapping has sent to, for address-dependent filtering (RFC 4787 §5).

use crate::expiry::NIL;
use crate::flow::Hasher;
use crate::index::Index;

/// One record for each (mapping, remote address), with how many sessions keep it.
#[derive(Debug)]
pub(crate) struct Permissions {
    records: Vec<Permission>,
    free: Vec<u32>,
    index: Index,
    hasher: Hasher,
}

#[derive(Clone, Copy, Debug)]
struct Permission {
    mapping: u32,
    remote: u32,
    sessions: u32,
}

impl Permissions {
    pub(crate) fn new(capacity: u32, hasher: Hasher) -> Self {
        Self { records: Vec::new(), free: Vec::new(), index: Index::new(capacity as usize), hasher }
    }

    pub(crate) fn find(&self, mapping: u32, remote: u32) -> Option<u32> {
        self.index.get(self.hasher.permission(mapping, remote), |id| {
            let p = &self.records[id as usize];
            p.mapping == mapping && p.remote == remote
        })
    }

    pub(crate) fn add(&mut self, mapping: u32, remote: u32) {
        if let Some(id) = self.find(mapping, remote) {
            self.records[id as usize].sessions += 1;
            return;
        }
        let record = Permission { mapping, remote, sessions: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                self.records[id as usize] = record;
                id
            }
            None => {
                self.records.push(record);
                // There are never more permissions than sessions, whose numbers are u32.
                u32::try_from(self.records.len() - 1).unwrap_or(NIL)
            }
        };
        self.index.insert(self.hasher.permission(mapping, remote), id);
    }

    pub(crate) fn remove(&mut self, mapping: u32, remote: u32) {
        let Some(id) = self.find(mapping, remote) else { return };
        let record = &mut self.records[id as usize];
        record.sessions -= 1;
        if record.sessions == 0 {
            self.index.remove(self.hasher.permission(mapping, remote), id);
            self.free.push(id);
        }
    }
}
