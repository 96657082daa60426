//! Words by what they mean for a judgement, in the languages that are met most.
//!
//! A phrase has one entry for all its forms: `*` stands for any ending, and without it the usual endings of English are
//! taken off. The entries stand in order, so that one search finds all that a word begins with, and no automaton has to
//! be built before the first text is read.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::spell;

/// Meanings, as bits.
pub(super) type Senses = u64;

macro_rules! senses {
    ($($(#[$doc:meta])* $name:ident,)*) => { senses!(@ 0; $($(#[$doc])* $name,)*); };
    (@ $at:expr; $(#[$doc:meta])* $name:ident, $($rest:tt)*) => {
        $(#[$doc])*
        pub(super) const $name: Senses = 1 << ($at);
        senses!(@ $at + 1; $($rest)*);
    };
    (@ $at:expr;) => {};
}

senses! {
    /// Ignore, forget, set aside.
    IGNORE,
    /// Void, suspended, no longer.
    VOID,
    /// Previous, above, of the system.
    PRIOR,
    /// The prompt's own words: instructions, guidelines, directives.
    RULES,
    /// Rules, policies, orders: of a model, or of anything else.
    NORMS,
    /// Your.
    YOUR,
    /// What you were told.
    TOLD,
    /// Obey, comply with.
    OBEY,
    /// Takes precedence over.
    OUTRANKS,
    /// The system prompt.
    PROMPT,
    /// You are, act as.
    BECOME,
    /// Unrestricted, root.
    UNBOUND,
    /// The conversation.
    TALK,
    /// Full, entire, all.
    WHOLE,
    /// Keys, passwords, cookies.
    SECRET,
    /// Of the user, saved, of the environment.
    THEIRS,
    /// Read, collect.
    READ,
    /// Send, put, include.
    MOVE,
    /// Must hold, is set to.
    HOLDS,
    /// Parameter, field.
    FIELD,
    /// Not, never, without.
    NEVER,
    /// Tell, mention, know.
    TELL,
    /// The user.
    USER,
    /// Secretly.
    STEALTH,
    /// Hide, leave out.
    HIDE,
    /// This, these, its existence.
    THIS,
    /// This text: instruction, note, step.
    TEXT,
    /// Know, notice.
    AWARE,
    /// Disable, bypass.
    DISABLE,
    /// Confirmation, sandbox, audit.
    SAFEGUARD,
    /// Agreed, authorized.
    AGREED,
    /// Ask.
    ASK,
    /// Everything, any.
    ANY,
    /// Whenever.
    WHENEVER,
    /// Replace, redirect.
    CHANGE,
    /// Recipient, account, amount.
    TARGET,
    /// Download, open, consult.
    FETCH,
    /// Run, execute.
    RUN,
    /// Places that are read again: profiles, memories, rule files.
    LASTING,
    /// Language model, assistant.
    MODEL,
    /// Note for, addressed to.
    ADDRESSED,
    /// Tool, function, server.
    TOOL,
    /// Other, competing.
    OTHER,
    /// Words after which a bare verb is an order.
    LEAD,
    /// A way in that nobody is to know of.
    BACKDOOR,
    /// Claim that, deny that.
    LIE,
    /// The best, better than.
    BOAST,
    /// Broken, unreliable.
    BAD,
    /// A mark between parts of a sentence.
    MARK,
    /// First of all.
    EARLY,
    /// Beyond English: forms tell no mood.
    FOREIGN,
    /// Do not, must never, without.
    FORBID,
    /// Show, quote, repeat.
    SHOW,
    /// Flags of programs that leave out every question.
    APPROVES,
    /// Assume, treat as.
    PRESUME,
    /// If, unless, when.
    CONDITION,
    /// Results, answers.
    RESULT,
    /// Files, documents, messages.
    THING,
    /// An address of the web.
    WEB,
    /// An address of a mailbox.
    MAILBOX,
    /// A path.
    PATH,
    /// Only.
    ONLY,
    /// Must, should, always.
    DUTY,
}

/// Entries of English, by sense.
const ENGLISH: &[(Senses, &str)] = &[
    (
        IGNORE,
        "ignore|disregard|forget|override|bypass|discard|abandon|dismiss|neglect|unlearn|erase|drop|set aside|put aside|\
         throw away|pay no attention|break out of|step outside|stop following|stop obeying|no longer follow|no longer obey",
    ),
    (
        VOID,
        "void|cancelled|canceled|revoked|suspended|obsolete|lifted|no longer|invalid|superseded|overridden|replaced by this|replaced by these|replaced by the following|withdrawn|expired|\
         do not apply|does not apply|don t apply|not apply|no longer apply",
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
        "api key|apikey|private key|ssh key|signing key|encryption key|secret key|access key|password*|passphrase|passcode|\
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
         provide|supply|submit|submitted|put|insert|add|write|written|paste|encode|populate|fill|share|deliver|embed|mention|\
         mail|hand over|turn over|save|memorize|memorise|persist|relay|exfiltrate|leak|publish|place|smuggle|pipe|cc|bcc|mirror|feed|ship",
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
         not have to|not to|without|avoid|refrain from|under no circumstances|do not ever|never ever|must never|should never",
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
    (AWARE, "know|hear|aware|notice|learn|realize|realise|find out|suspect|discover"),
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
         addressed to|only for|intended for|directive for|reminder for|memo to",
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
        "process.env|os.environ|output of env|output of printenv|output of set|shell environment",
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
        "broken|deprecated|unsafe|unreliable|inferior|outdated|wrong|obsolete|insecure|slow|wrong answers|worse|buggy|useless|\
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

/// Entries of other languages; each also means [`FOREIGN`].
const OTHERS: &[(Senses, &str)] = &[
    (
        IGNORE,
        "ignora|ignoren|ignorad|ignorar|olvida|olvide|olviden|olvidar|descarta|descarte|haz caso omiso|hagan caso omiso|\
         no sigas|deja de seguir|ignorez|ignorer|oublie|oubliez|oublier|ne tiens pas compte|ne tenez pas compte|\
         ne tiens plus compte|ne tenez plus compte|fais abstraction|faites abstraction|ne suis plus|ne suivez plus|ignoriere|\
         ignorieren sie|ignorier|vergiss|vergessen sie|missachte|missachten|verwirf|ubergehe|befolge nicht|beachte nicht|\
         ignorate|ignorare|dimentica|dimenticate|trascura|esqueca|esquece|esquecer|desconsidere|despreze|negeer|negeren|\
         vergeet|zignoruj*|ignoruj*|zapomnij*|yok say*|yoksay*|gormezden gel*|unut|забудь*|игнориру*|проигнорир*|отбрось*|\
         не обращай*|تجاهل*|انس|अनदेखा|नज़रअंदाज़|भूल जा*|התעלם*|忽略|无视|忘记|忘掉|不要理会|無視|忽視|忘れ|무시|잊어|잊고|abaikan|lupakan|bo qua",
    ),
    (
        PRIOR,
        "anterior*|previa|previas|previo|previos|del sistema|do sistema|du systeme|del system|precedent*|precedente*|anteriores|vorherig*|bisherig*|\
         fruher*|vorangegangen*|obig*|eerder*|vorige|poprzedni*|wczesniejsz*|dotychczasow*|onceki|предыдущ*|прежн*|прошл*|\
         ранее|выше|системн*|السابق*|पिछल*|הקודמ*|之前|以前|先前|上面|前面|此前|系统|これまで|前の|上記|이전|앞선|기존|sebelumnya|truoc do|sistem*",
    ),
    (
        RULES,
        "instruccion*|indicacion*|directric*|consigne*|anweisung*|vorgabe*|systemvorgabe*|richtlinie*|instruktion*|\
         istruzion*|direttiv*|instruco*|diretriz*|orientac*|instructie*|aanwijzing*|polecen*|instrukcj*|wytyczn*|talimat*|\
         yonerge*|инструкци*|указани*|директив*|التعليمات|تعليمات|تعليماتك|निर्देश*|הוראות|ההוראות|指令|指示|提示|プロンプト|命令|지시|지침|프롬프트|instruksi|huong dan|regla*|regra*|regle*|regol*|regeln|regels|zasad*|\
         kural*|правил*|القواعد|قواعد|الأوامر|नियम*|规则|規則|ルール|说明|명령|규칙|ordenes",
    ),
    (
        YOUR,
        "tu|tus|sus|tes|vos|votre|dein*|deine*|tuoi|tue|seus|suas|jouw|twoje|твои|свои|ваши|你的|您的|あなたの|당신의",
    ),
    (
        PROMPT,
        "instrucciones del sistema|prompt del sistema|prompt de sistema|prompt do sistema|prompt systeme|prompt du systeme|\
         systemprompt|system prompt|systemanweisung*|prompt di sistema|системн* промпт|системный промпт|系统提示|系统提示词|\
         システムプロンプト|시스템 프롬프트",
    ),
    (
        TALK,
        "conversacion*|conversazion*|conversa|conversas|historial|mensajes|messages precedents|gesprach*|gesprachsverlauf|\
         chatverlauf|unterhaltung*|mensagens|gesprek*|rozmow*|konusma*|переписк*|разговор*|диалог*|сообщени*|对话|聊天记录|\
         对话记录|對話|会話|履歴|대화|المحادثة|बातचीत|historique|cronologia|messaggi",
    ),
    (
        WHOLE,
        "completa|completo|completas|completos|complet|entera|entero|enteras|toda|todas|todos|entier*|toute|toutes|tous|tout|gesamt*|ganz*|alle|allen|intera|intero|tutta|tutte|tutti|inteir*|\
         hele|cala|caly|cale|calego|wszystk*|tum|butun|вс*|полн*|完整|全部|所有|整个|すべて|全て|全体|全|전체|모든|모두|전부|كامل*|كل|جميع|पूर*|सभी",
    ),
    (
        SECRET,
        "contrasen*|clave*|secretas|secretos|credencial*|mot de passe|mots de passe|cle privee|cles privees|identifiants|\
         passwort*|passworter*|kennwort*|zugangsdaten|schlussel*|geheimnis*|parola|parole d ordine|credenzial*|senha*|\
         segredo*|wachtwoord*|inloggegevens|hasl*|parolalar*|parolasi*|sifre*|парол*|ключ*|секрет*|токен*|учетн*|密码|密钥|口令|\
         令牌|凭证|私钥|环境变量|パスワード|秘密鍵|認証情報|トークン|鍵|비밀번호|암호|토큰|كلمة المرور|كلمات المرور|مفتاح|पासवर्ड|סיסמ*|chiave|chiavi",
    ),
    (
        READ,
        "leer|lee|lea|lean|lis|lisez|lire|lies|lese|lesen|ausles*|leggi|leggere|leggete|leia|ler|lees|lezen|przeczytaj|odczytaj|oku|\
         okuyun|прочита*|считай*|читай*|открой*|读取|讀取|查看|打开|读|読み取|読んで|読み込|읽|اقرأ|पढ़*|lit le|ouvre|abre|abra|offne|apri",
    ),
    (
        MOVE,
        "envia|enviar*|envie|envien|envialo|enviala|envialos|envialas|manda|mandar|mandalo|pasa|pase|pasar*|pasalo|ponlo|incluye|incluya|incluir|adjunta|adjunte|\
         envoie|envoyez|envoyer|passe|passez|transmets|transmettez|transmettre|inclus|incluez|inclure|joins|joignez|sende|\
         senden|schicke|schick|schicken|ubergib|ubergebe|ubergeben|fuge|ubermittle|ubermittel*|leite|invia|inviare|inviate|inviala|\
         includi|allega|passa|inclua|encaminhe|stuur|sturen|verstuur|geef|voeg|wyslij|przekaz|dolacz|gonder*|ekle|ilet|отправ*|\
         передай*|передавай*|перешли*|пришли*|включи*|добавь*|发送|传递|上传|传给|提交|附上|放入|填到|作为参数|發送|写入|填入|转发|送信|渡して|渡す|含めて|\
         送って|入れて|入力して|貼り付け|アップロード|보내|전송|전달|포함|넣|أرسل*|भेज*|שלח*",
    ),
    (
        FIELD,
        "parametr*|campo|campos|champ|feld|argumento|поле|параметр*|参数|字段|パラメータ|引数|매개변수|필드|인자|المعلمة",
    ),
    (
        NEVER,
        "nunca|sin|jamas|ne|pas|jamais|sans|nicht|nie|niemals|kein*|ohne|non|mai|senza|nao|sem|niet|nooit|zonder|geen|nigdy|bez|\
         не|ни|никогда|без|不|不要|别|勿|切勿|不得|不能|しないで|ないで|せず|ずに|禁止|마세요|말고|마라|않|لا|دون|بدون|مत|न|नहीं|बिना|אל|tanpa|jangan",
    ),
    (
        TELL,
        "digas|diga|decir|hablar|hables|hable|dile|decirle*|decirselo|informes|informe|informar*|menciones|mencionar*|mencione|avis*|avvis*|cuentes|\
         reveles|dis|dites|dire|parler|parle|parlez|prevenir|previens|prevenez|informer|mentionner|mentionne|mentionnez|avertir|avertis|sag|sage|\
         sagen|sprich|erwahn*|informier*|mitteil*|verrat*|dica|parlare|parlarne|falar|informare|menzionare|conte|contar|mencionar|vertel|vertellen|meld|\
         mow|powiedz|informuj|wspominaj|soyleme*|bildirme*|говори*|сообщай*|сообщать|упоминай*|рассказывай*|уведомляй*|告诉|告知|提及|\
         透露|通知|知らせ|伝え|言わ|教え|알리|말하|알려|تخبر*|أخبر|إخبار|बत*|תספר",
    ),
    (
        USER,
        "usuari*|utilisat*|benutzer*|nutzer*|anwender*|utente|utenti|gebruiker*|uzytkownik*|kullanici*|пользовател*|用户|使用者|\
         ユーザー|ユーザ|利用者|사용자|المستخدم|للمستخدم|उपयोगकर्ता|המשתמש*|pengguna",
    ),
    (
        MODEL,
        "asistente*|agente|modelo|assistente|assistent*|sprachmodell*|ki assistent*|ki agent*|assistant ia|agent ia|modele|asystent|\
         asistan|ассистент*|помощник*|агент*|модел*|助手|智能体|模型|アシスタント|エージェント|モデル|어시스턴트|에이전트|المساعد|सहायक|העוזר",
    ),
    (
        STEALTH,
        "en secreto|en silencio|secretamente|sigilosamente|discretement|en cachette|heimlich|stillschweigend|unbemerkt|di nascosto|\
         segretamente|silenciosamente|stiekem|potajemnie|gizlice|тайно|незаметно|偷偷|悄悄|秘密地|暗中|こっそり|密かに|몰래|سرا|diam diam",
    ),
    (
        OBEY,
        "obedece|obedezca|obeis|obeissez|gehorche|befolge|folge|ubbidisci|segui solo|sigue solo|obedeca|gehoorzaam|слушайся|повинуйся|服从|遵循|従って|따르",
    ),
    (
        ONLY,
        "solo|solamente|unicamente|seulement|uniquement|ausschliesslich|soltanto|somente|apenas|alleen|tylko|yalnizca|только|只|だけ|のみ|만",
    ),
    (
        BACKDOOR,
        "puerta trasera|puertas traseras|porte derobee|portes derobees|hintertur*|porta dos fundos|porta di servizio|\
         бэкдор*|后门|バックドア|백도어",
    ),
    (RESULT, "contenido*|contenu*|contenut*|conteudo*|inhalt*|содержим*|内容|中身|내용"),
    (
        ADDRESSED,
        "fur jede*|fur alle|an alle|an jede*|pour tout|pour toute|pour tous|a tout|a tous|para cualquier|para todo|para todos|\
         a todos los|para qualquer|per ogni|per qualsiasi|a tutti|для любо*|для всех|всем|致所有|致任何|给所有|给任何",
    ),
    (
        ASK,
        "frage|frag|demande|demandez|pide|pida|pregunta|pregunte|chiedi|chieda|peca|запроси*|спроси*|索要|要求|尋ねて|聞いて|물어|요구|preguntar|pedir|confirmacion|demander|nachfrage|ruckfrage|bestatigung|fragen|chiedere|conferma|confirmacao|спрашивать|подтверждени*|确认|询问|確認|확인",
    ),
];

/// The endings that an English word may have.
const ENDINGS: &[&str] = &["", "s", "es", "ed", "d", "ing", "ting", "ning"];

/// A word or phrase, or its beginning.
#[derive(Debug)]
pub(super) struct Entry {
    stem: Cow<'static, str>,
    /// What it means.
    pub(super) senses: Senses,
    any_ending: bool,
    /// It needs no blank before or behind it: its script has none.
    unspaced: bool,
    /// The place of the next shorter entry that this one begins with.
    shorter: Option<usize>,
}

impl Entry {
    /// The length of what is written in the entry, in bytes.
    pub(super) fn len(&self) -> usize {
        self.stem.len()
    }

    /// Whether a word may end so behind the entry.
    pub(super) fn takes(&self, ending: &str) -> bool {
        ending.is_empty()
            || self.any_ending
            || (self.senses & FOREIGN == 0 && ENDINGS.contains(&ending))
            // The last letter is doubled or left out: "omitting", "including".
            || (self.senses & FOREIGN == 0 && ending.len() == 4 && ending.ends_with("ing"))
    }

    /// Whether no ending belongs to it, as its script has no blanks to end a word.
    pub(super) fn is_unspaced(&self) -> bool {
        self.unspaced
    }

    /// Whether the word is as it stands in a dictionary, with this ending.
    pub(super) fn is_bare(&self, ending: &str) -> bool {
        // "copies" is an entry of its own.
        let third = self.stem.ends_with('s') && !self.stem.ends_with("ss") && !self.stem.contains(' ');
        (ending.is_empty() || self.any_ending) && !third
    }

    /// Whether it speaks of what was done, with this ending.
    pub(super) fn is_past(&self, ending: &str) -> bool {
        ending.ends_with('d') || self.stem.ends_with("ed") || matches!(&*self.stem, "sent" | "written")
    }
}

struct Lexicon {
    /// The first bytes of each entry, which decide most comparisons.
    keys: Vec<u64>,
    /// In order of their stems.
    entries: Vec<Entry>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let mut entries: Vec<Entry> = Vec::with_capacity(2048);
    let groups = ENGLISH.iter().map(|(senses, words)| (*senses, *words));
    let others = OTHERS.iter().map(|(senses, words)| (*senses | FOREIGN, *words));
    for (senses, words) in groups.chain(others) {
        for word in words.split('|').map(str::trim) {
            let (stem, any_ending) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
            // A test sees to it that the others are in plain spelling already.
            let stem = if stem.is_ascii() { Cow::Borrowed(stem) } else { Cow::Owned(spell::plain(stem)) };
            let unspaced = stem.chars().next().is_some_and(is_unspaced);
            entries.push(Entry { stem, senses, any_ending, unspaced, shorter: None });
        }
    }
    entries.sort_unstable_by(|one, other| one.stem.cmp(&other.stem));
    // What is spelt alike has all the senses.
    entries.dedup_by(|again, first| {
        let same = again.stem == first.stem;
        if same {
            first.senses |= again.senses;
            first.any_ending |= again.any_ending;
        }
        same
    });
    for at in 1..entries.len() {
        let mut shorter = Some(at - 1);
        while let Some(near) = shorter
            && !entries[at].stem.starts_with(&*entries[near].stem)
        {
            shorter = entries[near].shorter;
        }
        entries[at].shorter = shorter;
    }
    Lexicon { keys: entries.iter().map(|entry| key(entry.stem.as_bytes())).collect(), entries }
});

/// The first eight bytes as a number that has their order.
fn key(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    let count = bytes.len().min(8);
    first[..count].copy_from_slice(&bytes[..count]);
    u64::from_be_bytes(first)
}

/// The entries that a text begins with, the longest first.
pub(super) fn entries_at(text: &str) -> impl Iterator<Item = &'static Entry> {
    let Lexicon { keys, entries } = &*LEXICON;
    let first = key(text.as_bytes());
    // Whatever the text begins with is a beginning of the last entry that stands before the text in order, too.
    let mut last = keys.partition_point(|key| *key <= first);
    while last > 0 && keys[last - 1] == first && *entries[last - 1].stem > *text {
        last -= 1;
    }
    let mut next = last.checked_sub(1);
    std::iter::from_fn(move || {
        loop {
            let entry = entries.get(next?)?;
            next = entry.shorter;
            if text.starts_with(&*entry.stem) {
                return Some(entry);
            }
        }
    })
}

/// Scripts whose words stand together.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_where_it_stands_and_in_plain_spelling() {
        assert!(LEXICON.entries.len() > 500);
        for entry in &LEXICON.entries {
            assert_eq!(spell::plain(&entry.stem), *entry.stem);
            for behind in ["", "s", " and", "\u{4e00}", "zzzzzzzzz"] {
                let text = format!("{}{behind}", entry.stem);
                let found: Vec<&str> = entries_at(&text).map(|entry| &*entry.stem).collect();
                let mut all: Vec<&str> = LEXICON.entries.iter().map(|entry| &*entry.stem).collect();
                all.retain(|stem| text.starts_with(stem));
                all.reverse();
                assert_eq!(found, all, "{text}");
            }
        }
    }
}
