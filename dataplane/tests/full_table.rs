//! Many routes at once; `make bench` loads the whole Internet and takes the time.

use millrace_lab::{full_table, test};

#[test]
fn thirty_thousand_prefixes_go_where_they_should() {
    test(|lab| full_table::run(lab, &full_table::synthetic(30_000), "all", 50).map(drop));
}
