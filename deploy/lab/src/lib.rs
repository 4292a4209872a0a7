//! Network namespaces with routers in them: the demo, and the ground the end-to-end tests stand on.
