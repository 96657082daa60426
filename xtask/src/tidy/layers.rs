//! Who may know whom. ARCHITECTURE.md shows this table; a test compares the two.

/// A crate, its layer, and the crates of the workspace that it may depend on.
pub(super) struct Layer {
    pub(super) name: &'static str,
    /// Counts from the ground up. `None` stands beside the layers: examples and tools.
    pub(super) level: Option<u8>,
    pub(super) may_use: &'static [&'static str],
}

/// Every crate of the workspace. One that is not here is an error: a new crate is a decision.
pub(super) const LAYERS: &[Layer] = &[
    Layer { name: "mcp-core", level: Some(0), may_use: &[] },
    Layer { name: "mcp-resilience", level: Some(0), may_use: &[] },
    Layer { name: "mcp-transport", level: Some(1), may_use: &["mcp-core"] },
    Layer { name: "mcp-security", level: Some(1), may_use: &["mcp-core"] },
    Layer { name: "massgen-config", level: Some(1), may_use: &["mcp-core"] },
    Layer { name: "massgen-backends", level: Some(1), may_use: &["mcp-core", "mcp-resilience"] },
    Layer {
        name: "mcp-client",
        level: Some(2),
        may_use: &["mcp-core", "mcp-transport", "mcp-security", "mcp-resilience"],
    },
    Layer { name: "massgen-orchestrator", level: Some(3), may_use: &["mcp-core", "massgen-backends"] },
    Layer {
        name: "massgen",
        level: Some(4),
        may_use: &[
            "mcp-core",
            "mcp-transport",
            "mcp-security",
            "mcp-resilience",
            "mcp-client",
            "massgen-config",
            "massgen-backends",
            "massgen-orchestrator",
        ],
    },
    Layer { name: "massgen-cli", level: Some(5), may_use: &["massgen"] },
    Layer { name: "massgen-testkit", level: None, may_use: &[] },
    Layer { name: "massgen-example-desk", level: None, may_use: &["mcp-core", "mcp-transport"] },
    Layer { name: "massgen-example-library", level: None, may_use: &["mcp-core", "mcp-transport"] },
    Layer {
        name: "massgen-race-contender",
        level: None,
        may_use: &["mcp-core", "mcp-transport", "mcp-security", "mcp-client"],
    },
    Layer { name: "massgen-race-bare", level: None, may_use: &[] },
    Layer {
        name: "xtask",
        level: None,
        may_use: &["mcp-core", "mcp-transport", "mcp-security", "mcp-client"],
    },
];

/// Tests of any crate may use it.
pub(super) const TESTKIT: &str = "massgen-testkit";

/// These never see each other, not even in tests: where they must cooperate, mcp-core holds the trait.
pub(super) const STRANGERS: [&str; 3] = ["mcp-transport", "mcp-security", "mcp-resilience"];

/// A package that another must not reach, however long the way.
pub(super) struct Ban {
    /// The crate, or `*` for every crate of the workspace.
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// The one way that is allowed.
    pub(super) except_through: Option<&'static str>,
    pub(super) why: &'static str,
}

/// What nobody may have at all is in deny.toml.
pub(super) const BANS: &[Ban] = &[
    Ban { from: "mcp-core", to: "tokio", except_through: None, why: "the contract does no I/O" },
    Ban { from: "mcp-core", to: "rmcp", except_through: None, why: "the contract owes nothing to one SDK" },
    Ban { from: "mcp-resilience", to: "rmcp", except_through: None, why: "resilience knows no MCP" },
    Ban { from: "mcp-resilience", to: "mcp-core", except_through: None, why: "resilience knows no MCP" },
    Ban {
        from: "*",
        to: "rmcp",
        except_through: Some("mcp-transport"),
        why: "foreign protocol types stay in one crate",
    },
];

/// A third-party package with one home in the workspace.
pub(super) struct Home {
    pub(super) package: &'static str,
    pub(super) home: &'static str,
    pub(super) why: &'static str,
}

pub(super) const HOMES: &[Home] = &[
    Home { package: "rmcp", home: "mcp-transport", why: "foreign protocol types stay in one crate" },
    Home { package: "serde-saphyr", home: "massgen-config", why: "YAML is read in one place" },
    Home {
        package: "backoff",
        home: "mcp-resilience",
        why: "unmaintained: one file to change on the day it must go",
    },
    Home { package: "anyhow", home: "xtask", why: "libraries have typed errors" },
];

/// The other side of `cargo xtask race` is a client of rmcp and nothing else: that alone may use it past mcp-transport.
pub(super) const RIVAL: (&str, &str) = ("massgen-race-bare", "rmcp");

/// How many crates of others one of ours may bring along.
pub(super) struct Ceiling {
    pub(super) package: &'static str,
    pub(super) most: usize,
    pub(super) why: &'static str,
}

pub(super) const CEILINGS: &[Ceiling] =
    &[Ceiling { package: "mcp-resilience", most: 15, why: "it is for services of any kind, MCP or not" }];
