//! The configuration reader from the outside: tables of files and what is said about them.

use std::path::Path;

use super::*;

fn check(text: &str) -> String {
    match parse(text, Path::new("m.toml")) {
        Ok(loaded) => loaded.warnings.iter().map(|w| format!("{w}\n")).collect::<String>() + &loaded.config.to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn first_look() {
    println!("{}", check("[dataplane]\nworkerz=[1]\nworkers=[1,1,-1]\nframes=5000\nmode='zerocopy'\n[[interface]]\nname='eth0'\naddress=[]\naddresses=['10.0.0.0/8','10.0.0.1', 3]\nnat='inside'\nurpf='strict'\n[[interface]]\n[[static]]\nvia=[]\nprefix='10.0.0.1/8'\n[nat]\n[bgp]\n[foo]\n"));
    println!("{}", check("[router]\nname='a'\n[[interface]]\nname='eth0'\naddresses=['10.0.0.1/8']\n[[static]]\nprefix='0.0.0.0/0'\nvia=['10.0.0.2',{via='10.0.0.3',weight=3}]\n[http]\n"));
}
