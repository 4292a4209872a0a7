//! `dataplane/RFC.md` keeps its word: every row marked done names a test that exists.
