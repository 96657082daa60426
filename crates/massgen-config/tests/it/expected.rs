//! What the 37 files of v0.0.13 hold: file, agents (id, type, model or nothing), the agents (from 1) that have a system
//! message.

pub(crate) type Expected =
    (&'static str, &'static [(&'static str, &'static str, &'static str)], &'static [usize]);

#[rustfmt::skip]
pub(crate) const EXPECTED: [Expected; 37] = [
    ("azure_openai_multi.yaml", &[("azure_gpt4", "azure_openai", "gpt-4.1"), ("azure_gpt5", "azure_openai", "gpt-5-chat")], &[1, 2]),
    ("azure_openai_single.yaml", &[("azure_gpt4_agent", "azure_openai", "gpt-4.1")], &[1]),
    ("claude_code_context_sharing.yaml", &[("claude_code_agent1", "claude_code", ""), ("claude_code_agent2", "claude_code", "")], &[]),
    ("claude_code_discord_mcp_example.yaml", &[("claude_code_discord_mcp", "claude_code", "")], &[]),
    ("claude_code_flash2.5.yaml", &[("claude_code_agent", "claude_code", ""), ("gemini-2.5-flash", "gemini", "gemini-2.5-flash")], &[]),
    ("claude_code_flash2.5_gptoss.yaml", &[("claude_code_agent", "claude_code", ""), ("gemini-2.5-flash", "gemini", "gemini-2.5-flash"), ("gpt-oss-120b", "chatcompletion", "gpt-oss-120b")], &[]),
    ("claude_code_gpt5nano.yaml", &[("claude_code", "claude_code", ""), ("gpt-5-nano", "openai", "gpt-5-nano")], &[]),
    ("claude_code_simple_mcp.yaml", &[("claude_code_simple_mcp", "claude_code", "")], &[1]),
    ("claude_code_single.yaml", &[("claude_code_agent", "claude_code", "")], &[]),
    ("claude_code_twitter_mcp_example.yaml", &[("claude_code_twitter_mcp", "claude_code", "")], &[]),
    ("creative_team.yaml", &[("storyteller", "openai", "gpt-5-nano"), ("editor", "openai", "gpt-5-nano"), ("critic", "grok", "grok-3-mini")], &[1, 2, 3]),
    ("fast_timeout_example.yaml", &[("fast-gpt-5-1", "openai", "gpt-5"), ("fast-gpt-5-2", "openai", "gpt-5")], &[]),
    ("gemini_4o_claude.yaml", &[("gemini2.5flash", "gemini", "gemini-2.5-flash"), ("gpt-4o", "openai", "gpt-4o"), ("claude-3-5-haiku", "claude", "claude-3-5-haiku-20241022")], &[]),
    ("gemini_gpt5nano_claude.yaml", &[("gemini2.5flash", "gemini", "gemini-2.5-flash"), ("gpt-5-nano", "openai", "gpt-5-nano"), ("claude-3-5-haiku", "claude", "claude-3-5-haiku-20241022")], &[]),
    ("geminicode_4o_claude.yaml", &[("gemini2.5flash", "gemini", "gemini-2.5-flash"), ("gpt-4o", "openai", "gpt-4o"), ("claude-3-5-haiku", "claude", "claude-3-5-haiku-20241022")], &[]),
    ("geminicode_gpt5nano_claude.yaml", &[("gemini2.5flash", "gemini", "gemini-2.5-flash"), ("gpt-5-nano", "openai", "gpt-5-nano"), ("claude-3-5-haiku", "claude", "claude-3-5-haiku-20241022")], &[]),
    ("glm_gemini_claude.yaml", &[("glm-4.5", "zai", "glm-4.5"), ("gemini-2.5-flash", "gemini", "gemini-2.5-flash"), ("claude-3.5-haiku", "claude", "claude-3-5-haiku-20241022")], &[]),
    ("gpt5.yaml", &[("gpt-5", "openai", "gpt-5"), ("gpt-5-mini", "openai", "gpt-5-mini"), ("gpt-5-nano", "openai", "gpt-5-nano")], &[]),
    ("gpt5_nano.yaml", &[("gpt-5-nano-1", "openai", "gpt-5-nano"), ("gpt-5-nano-2", "openai", "gpt-5-nano"), ("gpt-5-nano-3", "openai", "gpt-5-nano")], &[]),
    ("gpt5mini_claude_code_discord_mcp_example.yaml", &[("claude_code_discord_mcp", "claude_code", ""), ("gpt-5-mini", "openai", "gpt-5-mini")], &[1, 2]),
    ("gpt5nano_glm_qwen.yaml", &[("gpt-oss-1", "chatcompletion", "gpt-oss-120b"), ("zai_glm45_agent", "zai", "glm-4.5-air"), ("Qwen3-4b", "lmstudio", "qwen/qwen3-4b-2507")], &[]),
    ("lmstudio.yaml", &[("Qwen3-4b", "lmstudio", "qwen/qwen3-4b-2507")], &[1]),
    ("multi_agent_playwright_automation.yaml", &[("claude_code_playwright_automation", "claude_code", ""), ("gpt-5-nano_analysis", "openai", "gpt-5-nano")], &[]),
    ("news_analysis.yaml", &[("news_gatherer", "openai", "gpt-5-nano"), ("trend_analyst", "grok", "grok-3-mini"), ("news_synthesizer", "openai", "gpt-5-nano")], &[1, 2, 3]),
    ("research_team.yaml", &[("information_gatherer", "grok", "grok-3-mini"), ("domain_expert", "openai", "gpt-5-nano"), ("synthesizer", "openai", "gpt-5-nano")], &[1, 2, 3]),
    ("single_agent.yaml", &[("gemini_agent", "gemini", "gemini-2.5-flash")], &[1]),
    ("single_flash2.5.yaml", &[("gemini_agent", "gemini", "gemini-2.5-flash")], &[]),
    ("single_gpt5nano.yaml", &[("gpt-5-nano", "openai", "gpt-5-nano")], &[]),
    ("single_gptoss120b.yaml", &[("gpt-oss-120b", "chatcompletion", "gpt-oss-120b")], &[]),
    ("technical_analysis.yaml", &[("technical_researcher", "openai", "gpt-5-nano"), ("cost_analyst", "grok", "grok-3-mini"), ("technical_advisor", "openai", "gpt-5-nano")], &[1, 2, 3]),
    ("three_agents_default.yaml", &[("gemini2.5flash", "gemini", "gemini-2.5-flash"), ("gpt5nano", "openai", "gpt-5-nano"), ("grok3mini", "grok", "grok-3-mini")], &[]),
    ("three_agents_opensource.yaml", &[("gpt-oss-1", "chatcompletion", "gpt-oss-120b"), ("qwen", "chatcompletion", "Qwen/Qwen3-4B-fast"), ("gpt-oss-2", "chatcompletion", "accounts/fireworks/models/gpt-oss-20b")], &[]),
    ("travel_planning.yaml", &[("travel_researcher", "openai", "gpt-5-nano"), ("local_expert", "grok", "grok-3-mini"), ("travel_planner", "openai", "gpt-5-nano")], &[1, 2, 3]),
    ("two_agents_gpt5.yaml", &[("primary_agent", "openai", "gpt-5"), ("secondary_agent", "openai", "gpt-5-nano")], &[1, 2]),
    ("two_agents_opensource_lmstudio.yaml", &[("GPT-5", "openai", "gpt-5"), ("Qwen3-4b", "lmstudio", "qwen/qwen3-4b-2507")], &[1]),
    ("zai_coding_team.yaml", &[("architecture_glm45", "zai", "glm-4.5"), ("implementation_glm45", "zai", "glm-4.5"), ("review_glm45_air", "zai", "glm-4.5-air"), ("perf_reliability_glm45_air", "zai", "glm-4.5-air")], &[1, 2, 3, 4]),
    ("zai_glm45.yaml", &[("zai_glm45_agent", "zai", "glm-4.5")], &[]),
];
