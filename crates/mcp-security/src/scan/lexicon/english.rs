//! The entries of English.

use super::*;

/// Entries of English, by sense.
pub(super) const ENGLISH: &[(Senses, &str)] = &[
    (
        IGNORE,
        "ignore|disregard|forget|override|bypass|discard|abandon|dismiss|neglect|unlearn|erase|drop|set aside|put aside|\
         throw away|pay no attention|break out of|step outside|stop following|stop obeying|no longer follow|no longer obey",
    ),
    (
        VOID,
        "void|cancelled|canceled|revoked|suspended|obsolete|lifted|no longer|invalid|superseded|overridden|replaced by this|replaced by these|replaced by the following|withdrawn|expired|\
         lapsed|outdated|out of force|null and void|retired|no force|do not apply|does not apply|don t apply|not apply|no longer apply",
    ),
    (
        PRIOR,
        "previous|previously|prior|earlier|above|preceding|former|formerly|before|so far|developer|safety|foregoing",
    ),
    (RULES, "instruction|prompt|guideline|directive|guidance|training|safeguard|guardrail|persona"),
    (NORMS, "rule|policy|policies|restriction|constraint|orders|commands|ethics|principles"),
    (YOUR, "your"),
    (
        TOLD,
        "you were told|you have been told|you were given|you have been given|you received|you have received|you were taught|\
         you learned|you know from|told you|instructed you",
    ),
    (
        OBEY,
        "obey*|follow|comply|respect|honor|honour|heed|adhere|act on|act upon|carry out|do as|do what|listen to|abide by",
    ),
    (
        OUTRANKS,
        "take precedence|takes precedence|taking precedence|have precedence|has precedence|higher priority|highest priority|\
         priority over|priority above|outrank|supersede|trump|more important than|more authority",
    ),
    (
        PROMPT,
        "system prompt|system message|system instruction|system rule|system polic*|developer prompt|developer message|\
         developer instruction|initial prompt|initial instruction|hidden prompt|hidden instruction|system directive",
    ),
    (
        BECOME,
        "you are|you re|you will be|you become|act as|acting as|pretend|pretending|roleplay|role play|behave as|behave like|\
         become|adopt|assume the role|switch to|enter|simulate being",
    ),
    (
        UNBOUND,
        "unrestricted|no restriction|without restriction|no limit|without limit|without any limit|without any restriction|\
         no filter|without filter|uncensored|unfiltered|jailbroken|jailbreak|dan|root administrator|developer mode|\
         maintenance mode|god mode|debug mode|admin mode|root access|no rules|without rules|free of all|superuser mode",
    ),
    (
        TALK,
        "conversation|dialog|dialogue|chat|transcript|message history|chat history|messages so far|last messages|\
         previous messages|earlier messages|messages the user|user s messages|user messages|\
         what the user|everything you know|everything the user|user s prompt|user prompt|your answer|\
         your reply|your response|your reasoning|chain of thought|your memory|memory file|session history|message log|the user wrote|\
         everything that was said|everything said|everything that has been said|what was said so far",
    ),
    (WHOLE, "full|entire|whole|complete|all|every|verbatim|everything|word for word|in full|exact|last"),
    (
        SECRET,
        "api key|apikey|master password|deploy key|private key|ssh key|signing key|encryption key|secret key|access key|password*|passphrase|passcode|\
         secret|credential|auth token|access token|session token|oauth token|bearer token|github token|slack token|\
         refresh token|personal access token|token|session cookie|cookie|seed phrase|recovery phrase|mnemonic|\
         environment variable|env var|credit card*|card number|ssn|social security|browser history|\
         clipboard|keychain|wallet|wallet file|pin code|key file|2fa code|one time code|otp",
    ),
    (
        THEIRS,
        "user s|users|caller s|their|his|her|host s|host|browser|environment|saved|stored|local|machine|home folder|home directory|\
         your own|customer s|victim s|private|any available",
    ),
    (
        READ,
        "read|open|cat|load|view|access|fetch|retrieve|dump|print|get|collect|grab|gather|extract|look up|look at|look into|\
         take|obtain|copy|harvest|steal|scrape|capture|pull",
    ),
    (
        MOVE,
        "send|sent|pass|passes|include|forward|post|upload|append|transmit|transmitted|email|e mail|copy|copies|copied|attach|\
         provide|supply|supplied|submit|submitted|put|insert|add|write|written|paste|encode|populate|fill|share|deliver|embed|mention|\
         mail|hand over|turn over|save|memorize|memorise|persist|relay|exfiltrate|leak|publish|place|smuggle|pipe|cc|bcc|mirror|feed|ship|slip|slip in|sneak|sneak in|hand|store",
    ),
    (
        HOLDS,
        "must contain|must be|should contain|should be|must hold|has to be|has to contain|expects|needs|is set to|\
         must include|should include|must equal|shall be|shall contain|carries|receives|goes into|go into|belongs in|belongs into",
    ),
    (
        FIELD,
        "parameter|argument|field|query|param|arg|property|header|body|url|endpoint|webhook|attribute|input|payload",
    ),
    (
        NEVER,
        "not|never|without|avoid|don t|dont|cannot|can t|no need|refrain from|no longer|nor|mustn t|shouldn t|no",
    ),
    (
        FORBID,
        "do not|don t|dont|never|must not|mustn t|should not|shouldn t|shall not|may not|need not|not need to|no need to|\
         not have to|not to|refuse to|refuses to|decline to|declines to|forbidden to|not allowed to|not permitted to|without|avoid|refrain from|under no circumstances|do not ever|never ever|must never|should never",
    ),
    (
        TELL,
        "tell|mention|inform|notify|notified|reveal|disclose|alert|warn|acknowledge|admit|confess|let|letting",
    ),
    (SHOW, "show|display|quote|repeat|expose|disclose|reveal|mention|print|output|describe|discuss"),
    (
        USER,
        "user|human|person|customer|operator|owner|anyone|anybody|people|somebody|someone|developer|reviewer|admin",
    ),
    (
        STEALTH,
        "quietly|silently|secretly|covertly|discreetly|invisibly|stealthily|surreptitiously|unnoticed|in the background|\
         behind the scenes|without notice|under the radar",
    ),
    (HIDE, "hide|conceal|withhold|omit|leave out|leave off|suppress|mask|keep"),
    (THIS, "this|these|it|its|that|them|the existence of|existence|those"),
    (
        TEXT,
        "instruction|note|step|directions|message|section|rule|request|directive|notice|paragraph|text|description|part|line|\
         procedure|requirement|sentence|existence",
    ),
    (AWARE, "told|know|hear|aware|notice|learn|realize|realise|find out|suspect|discover"),
    (DISABLE, "disable|turn off|switch off|deactivate|bypass|skip|suppress|circumvent|kill|evade"),
    (
        SAFEGUARD,
        "confirmation|approval|permission prompt|permission check|permission|sandbox|audit log|audit trail|safety check|\
         security check|safety filter|content filter|safety polic*|antivirus|firewall|consent|guardrail|safeguard|human review|\
         review step",
    ),
    (
        AGREED,
        "agreed|consented|approved|authorized|authorised|pre authorized|preauthorized|pre approved|preapproved|granted|\
         given permission|given consent|given approval|permitted|allowed|trusted|accepted|okayed|cleared|waived",
    ),
    (ASK, "ask|asking|confirm|confirming|confirmation|prompt|prompting|approval|permission|consent"),
    (ANY, "all|any|every|everything|each|anything|whatever|whichever"),
    (
        WHENEVER,
        "whenever|every time|each time|any time|anytime|when any|when another|if any|if another|when|after|before|once",
    ),
    (
        CHANGE,
        "replace|change|redirect|modify|rewrite|swap|alter|substitute|set|add|insert|switch|route|divert|cc|bcc|copy",
    ),
    (
        TARGET,
        "recipient|iban|bcc|cc|account|payee|amount|destination|beneficiary|wallet address|address|to field|reply to|\
         receiver|invite|url|target|bank",
    ),
    (FETCH, "fetch|download|load|read|open|visit|consult|get|retrieve|curl|wget|pull|import|browse to|go to"),
    (RUN, "run|execute|eval|launch|invoke|start|install"),
    (
        LASTING,
        "crontab|cron|bashrc|zshrc|profile|authorized keys|authorized_keys|claude md|claude.md|cursorrules|.cursorrules|\
         agents.md|copilot instructions|settings.json|mcp.json|long term memory|memory|autostart|startup folder|git hook|\
         .git/hooks|launchd|systemd|future session|system prompt|rules file|config file|configuration file|dotfile",
    ),
    (
        MODEL,
        "llm|language model|assistant|ai|ai agent|agent|model|gpt|claude|gemini|copilot|chatbot|bot|\
         automated reviewer|automated screener|automated grader|automated reader",
    ),
    (
        ADDRESSED,
        "note for|note to|message for|message to|instructions for|instructions to|attention|dear|for the|to the|for any|to any|for whichever|to whichever|for whatever|to whatever|hey|hello|\
         addressed to|only for|ps for|ps to|p.s for|p.s to|hint for|hint to|notice for|notice to|info for|request to|\
         intended for|directive for|reminder for|memo to",
    ),
    (TOOL, "tool|function|server|plugin|integration|service"),
    (
        OTHER,
        "other|others|another|competing|competitor|alternative|alternatives|rival|remaining|built in|rest",
    ),
    (
        LEAD,
        "and|then|first|also|please|kindly|must|should|shall|always|simply|just|next|now|instead|could|would|will|ensure|\
         quietly|silently|secretly|automatically|immediately|or|but|additionally|afterwards|finally|later|beforehand|so|\
         covertly|discreetly|only|invisibly|have to|has to|need to|needs to|required to|make sure to|be sure to|remember to|\
         forget to|fail to|hesitate to|supposed to|expected to|mandatory to|instructed to|asked to|you to|in order to|able to|tool to|tools to|command to|shell to",
    ),
    (
        BACKDOOR,
        "backdoor|back door|reverse shell|web shell|webshell|hidden route|hidden endpoint|hidden account|hidden admin*|\
         secret route|secret endpoint|secret account|master password|logic bomb|kill switch|keylogger|beacon",
    ),
    (APPROVES, "dangerously skip permission*|yolo mode|always allow"),
    (PRESUME, "assume|treat|consider|presume|regard"),
    (CONDITION, "if|only|until|unless|after|when|where|once|whether"),
    (
        SECRET | THEIRS,
        "shell history|shell s history|command history|bash history|zsh history|terminal history|process.env|os.environ|output of env|output of printenv|output of set|shell environment",
    ),
    (
        RESULT,
        "content of|contents of|content from|contents from|result|output|response|answer|reply|replies|return value|data",
    ),
    (THING, "file|document|contact|photo|message|mail|email|note|source code|code|data|history|record"),
    (
        LIE,
        "claim that|pretend that|deny that|deny any|deny having|deny it|lie to|lie about|act normally|act as if|act as though|\
         make no mention|give no sign|give no hint|leave no trace|\
         say that no|say that nothing|answer that no|answer that nothing|say you did not",
    ),
    (
        BOAST,
        "better than all|better than any|superior to all|superior to any|superior to other|better than other|rely on this|\
         number one|always choose this|always choose it|always pick this|always pick it|use it for every|use it for all|\
         use this for every|use this tool for every|use this tool for all|for every request|for all requests|rank this",
    ),
    (
        BAD,
        "malicious|dangerous|compromised|untrusted|not trusted|not safe|not secure|not trustworthy|untrustworthy|not reliable|\
         leak data|leaks data|leak your data|leaks your data|spy on you|spies on you|harmful|broken|deprecated|unsafe|unreliable|inferior|outdated|wrong|obsolete|insecure|slow|wrong answers|worse|buggy|useless|\
         incorrect|unmaintained",
    ),
    (
        EARLY,
        "before anything else|before everything else|before any other|before every other|before all other|prior to any other|\
         first in the session|first of all|before doing anything|at the start of every|at the beginning of every",
    ),
    (ONLY, "only|solely|exclusively|nothing but"),
    (DUTY, "must|should|shall|always|have to|has to|need to|needs to|required|mandatory|ought to|never"),
];
