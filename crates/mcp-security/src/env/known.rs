//! What is known of variables by their names.

/// Variables that make a loader, an interpreter or a helper program run something else first.
pub(super) const LOADERS: &[&str] = &[
    "BASH_ENV",
    "BASHOPTS",
    "CARGO_BUILD_RUSTC",
    "COMSPEC",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_SHARED_STORE",
    "DOTNET_STARTUP_HOOKS",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "GTK_MODULES",
    "GTK3_MODULES",
    "HOSTALIASES",
    "IFS",
    "LESSCLOSE",
    "LESSOPEN",
    "LOCPATH",
    "MANPAGER",
    "NODE_REPL_EXTERNAL_MODULE",
    "NPM_CONFIG_EDITOR",
    "NPM_CONFIG_GIT",
    "NPM_CONFIG_GLOBALCONFIG",
    "NPM_CONFIG_IGNORE_PATH",
    "NPM_CONFIG_INIT_MODULE",
    "NPM_CONFIG_NODE_OPTIONS",
    "NPM_CONFIG_SCRIPT_SHELL",
    "NPM_CONFIG_SHELL",
    "NPM_CONFIG_USERCONFIG",
    "NPM_CONFIG_VIEWER",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "PATHEXT",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PERLLIB",
    "PROMPT_COMMAND",
    "PS4",
    "PYTHONBREAKPOINT",
    "PYTHONEXECUTABLE",
    "PYTHONINSPECT",
    "PYTHONPLATLIBDIR",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "RUBYLIB",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "R_ENVIRON_USER",
    "R_PROFILE",
    "R_PROFILE_USER",
    "SHELLOPTS",
    "SSLKEYLOGFILE",
    "YARN_PLUGINS",
    "YARN_RC_FILENAME",
    "YARN_YARN_PATH",
    "ZDOTDIR",
];

/// The same by the beginning of the name.
pub(super) const LOADER_PREFIXES: &[&str] = &[
    "LD_",
    "DYLD_",
    "BASH_FUNC_",
    "GIT_CONFIG",
    "COMPLUS_",
    "CORECLR_PROFILER",
    "CORECLR_ENABLE_PROFILING",
    "COR_PROFILER",
    "COR_ENABLE_PROFILING",
    "LUA_INIT",
    "_RLD_",
    "MALLOC_CONF",
    "CARGO_BUILD_RUSTC_",
];

/// Where programs look for settings and plug-ins that can make them run something: fine in folders of the user, not
/// where everybody may write.
pub(super) const SETTINGS: &[&str] = &[
    "CPATH",
    "CURL_HOME",
    "DOCKER_CONFIG",
    "ERL_LIBS",
    "FPATH",
    "GIO_EXTRA_MODULES",
    "GIO_MODULE_DIR",
    "GST_PLUGIN_PATH",
    "HELM_PLUGINS",
    "INPUTRC",
    "JULIA_DEPOT_PATH",
    "JULIA_LOAD_PATH",
    "KRB5_CONFIG",
    "KUBECONFIG",
    "LUA_CPATH",
    "LUA_PATH",
    "MYVIMRC",
    "NETRC",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "PIP_CONFIG_FILE",
    "PYTHONPYCACHEPREFIX",
    "QT_PLUGIN_PATH",
    "R_LIBS",
    "R_LIBS_USER",
    "TERMINFO",
    "UV_CONFIG_FILE",
    "VK_LAYER_PATH",
    "WGETRC",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
];

/// Variables of git that name programs.
pub(super) const GIT_PROGRAMS: &[&str] = &[
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXEC_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_ASKPASS",
    "GIT_EDITOR",
    "GIT_SEQUENCE_EDITOR",
    "GIT_PAGER",
    "GIT_PROXY_COMMAND",
    "GIT_TEMPLATE_DIR",
];

/// Variables that name programs in everyday use: fine, unless others can replace the program.
pub(super) const PROGRAMS: &[&str] = &[
    "SHELL",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "BROWSER",
    "UV_PYTHON",
    "JAVA_HOME",
    "SSH_ASKPASS",
    "SUDO_ASKPASS",
    "CC",
    "CXX",
    "LD",
    "AR",
    "LINKER",
    "NPM_CONFIG_PYTHON",
    "NODE_GYP_FORCE_PYTHON",
];

/// Where trust begins for TLS.
pub(super) const TRUST_ROOTS: &[&str] = &[
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NPM_CONFIG_CAFILE",
    "DENO_CERT",
];

/// Where packages come from.
pub(super) const SOURCES: &[&str] = &[
    "NPM_CONFIG_REGISTRY",
    "NPM_CONFIG_REGISTRY_SERVER",
    "YARN_REGISTRY",
    "UV_INDEX",
    "UV_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "BUN_CONFIG_REGISTRY",
    "JSR_URL",
    "GOPROXY",
];

/// The keys of LaunchDarkly begin like the variables of the dynamic loader.
pub(super) fn is_feature_flags(name: &str) -> bool {
    name.strip_prefix("LD_").is_some_and(|rest| {
        let first = rest.split('_').next().unwrap_or_default();
        matches!(first, "SDK" | "CLIENT" | "MOBILE" | "API" | "PROJECT" | "ENV" | "ACCESS" | "RELAY")
    })
}

/// Options of Java's virtual machine, however the launcher calls them.
pub(super) fn is_java_options(name: &str) -> bool {
    matches!(name, "JAVA_TOOL_OPTIONS" | "_JAVA_OPTIONS" | "JDK_JAVA_OPTIONS" | "JAVACMD_OPTS")
        || ["JAVA", "JVM", "MAVEN", "GRADLE", "SBT", "KOTLIN", "GROOVY", "CATALINA"].iter().any(|vm| {
            name.contains(vm)
                && (name.ends_with("_OPTS") || name.ends_with("_OPTIONS") || name.ends_with("_ARGS"))
        })
}

/// Whether a variable says where an interface lies.
pub(super) fn is_base(name: &str) -> bool {
    ["_BASE_URL", "_API_BASE", "_API_URL", "_API_HOST", "_API_ENDPOINT"].iter().any(|end| name.ends_with(end))
}

/// Hosts of models, to whose clients keys are given.
pub(super) fn is_model_host(name: &str) -> bool {
    let owner =
        name.rsplit_once("_BASE_URL").or_else(|| name.rsplit_once("_API_")).map_or(name, |(owner, _)| owner);
    [
        "ANTHROPIC",
        "OPENAI",
        "AZURE_OPENAI",
        "GEMINI",
        "GOOGLE",
        "GROQ",
        "MISTRAL",
        "XAI",
        "COHERE",
        "DEEPSEEK",
        "OPENROUTER",
        "CLAUDE",
        "PERPLEXITY",
        "TOGETHER",
        "FIREWORKS",
        "CEREBRAS",
        "LLM",
    ]
    .iter()
    .any(|known| owner.contains(known))
}
