//! Discord's REST API v10: one bot, one guild, one channel.

use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Answer, Call, World};

/// The bot's token, in the form of a real one.
pub const TOKEN: &str = "OTAwMDAwMDAwMDAwMDAwMDAz.dummy0.not-a-real-token-000000000000000000";
/// The one guild.
pub const GUILD: &str = "900000000000000001";
/// Its one text channel.
pub const CHANNEL: &str = "900000000000000002";
/// The bot's user.
pub const BOT: &str = "900000000000000003";

/// What was posted, oldest first.
#[derive(Debug, Default)]
pub(super) struct State {
    messages: Mutex<Vec<Value>>,
}

pub(super) fn answer(world: &World, call: Call<'_>) -> Answer {
    let Some(path) = call.path.strip_prefix("/api/v10/") else {
        return Answer::json(404, &json!({"message": "404: Not Found", "code": 0}));
    };
    if call.http.header("authorization") != Some(&format!("Bot {TOKEN}")) {
        return Answer::json(401, &json!({"message": "401: Unauthorized", "code": 0}));
    }
    let parts: Vec<_> = path.split('/').collect();
    let body = match (call.http.method.as_str(), parts.as_slice()) {
        ("GET", ["gateway", "bot"]) => json!({
            "url": gateway(world), "shards": 1,
            "session_start_limit": {"total": 1000, "remaining": 999, "reset_after": 1000, "max_concurrency": 1},
        }),
        ("GET", ["users", "@me"]) => bot(),
        ("GET", ["guilds", GUILD]) => guild(),
        ("GET", ["guilds", GUILD, "channels"]) => json!([channel()]),
        ("GET", ["channels", CHANNEL]) => channel(),
        ("GET", ["channels", CHANNEL, "messages"]) => {
            let messages = world.discord.messages.lock().unwrap();
            messages.iter().rev().cloned().collect()
        }
        ("POST", ["channels", CHANNEL, "messages"]) => {
            let mut messages = world.discord.messages.lock().unwrap();
            let message = message(messages.len(), &call.http.json()["content"]);
            messages.push(message.clone());
            message
        }
        (_, ["channels", ..]) => {
            return Answer::json(404, &json!({"message": "Unknown Channel", "code": 10003}));
        }
        _ => return Answer::json(404, &json!({"message": "404: Not Found", "code": 0})),
    };
    Answer::json(200, &body)
}

/// Where the gateway is: on the same port.
pub(super) fn gateway(world: &World) -> String {
    format!("ws://{}/gateway", world.address)
}

pub(super) fn bot() -> Value {
    json!({
        "id": BOT, "username": "testbot", "discriminator": "0", "global_name": null, "avatar": null, "bot": true,
    })
}

fn channel() -> Value {
    json!({
        "id": CHANNEL, "type": 0, "guild_id": GUILD, "name": "general", "position": 0, "topic": "a channel",
        "permission_overwrites": [], "nsfw": false, "parent_id": null, "last_message_id": null,
        "rate_limit_per_user": 0,
    })
}

/// The guild as REST tells it.
fn guild() -> Value {
    let everyone = json!({
        "id": GUILD, "name": "@everyone", "color": 0, "hoist": false, "position": 0, "permissions": "8",
        "colors": {"primary_color": 0, "secondary_color": null, "tertiary_color": null},
        "managed": false, "mentionable": false, "flags": 0,
    });
    json!({
        "id": GUILD, "name": "Loopback", "icon": null, "splash": null, "owner_id": BOT, "afk_timeout": 0,
        "verification_level": 0, "default_message_notifications": 0, "explicit_content_filter": 0,
        "roles": [everyone], "emojis": [], "features": [], "mfa_level": 0, "system_channel_flags": 0,
        "premium_tier": 0, "preferred_locale": "en-US", "nsfw_level": 0, "description": null, "stickers": [],
        "premium_progress_bar_enabled": false, "approximate_member_count": 1,
    })
}

/// The guild as the gateway tells it: with all that is in it.
pub(super) fn whole_guild() -> Value {
    let joined = "2026-01-01T00:00:00.000000+00:00";
    let mut guild = guild();
    let more = json!({
        "joined_at": joined, "large": false, "member_count": 1, "voice_states": [], "channels": [channel()],
        "members": [
            {"user": bot(), "roles": [], "joined_at": joined, "deaf": false, "mute": false, "flags": 0},
        ],
        "threads": [], "presences": [], "stage_instances": [], "guild_scheduled_events": [],
        "soundboard_sounds": [],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        guild[key] = value.clone();
    }
    guild
}

fn message(number: usize, content: &Value) -> Value {
    json!({
        "id": format!("91000000000000{number:04}"), "channel_id": CHANNEL, "author": bot(), "content": content,
        "timestamp": format!("2026-01-01T00:00:{:02}.000000+00:00", number % 60), "edited_timestamp": null,
        "tts": false, "mention_everyone": false, "mentions": [], "mention_roles": [], "attachments": [],
        "embeds": [], "pinned": false, "type": 0,
    })
}
