//! The entries of other languages.

use super::*;

/// Entries of other languages; each also means [`FOREIGN`].
pub(super) const OTHERS: &[(Senses, &str)] = &[
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
    (
        USER,
        "utilizador*|cliente|clientes|ninguem|nadie|niemandem|niemanden|nessuno|nikomu|никому|anvandare*|bruger*|bruker*|kayttaja*|uzivatel*|користувач*|nguoi dung|utilizator*|χρηστ*|felhasznalo*|ผู้ใช้|کاربر*|kullaniciya",
    ),
    (
        SECRET,
        "credenciai*|llavero*|losenord*|adgangskod*|passord*|salasana*|hesla|heslo|hesel|паролі*|mat khau|kata sandi|parolele|parola*|κωδικ*|jelszav*|jelszo*|รหัสผ่าน|رمز عبور",
    ),
    (
        MOVE,
        "adjuntar|acompana*|acompane|gib|gebt|geben sie|ajoute|ajoutez|ajouter|anade|anada|agrega|agregue|adiciona|adicione|aggiungi|zet|skicka|sende|posli*|odesli*|vloz*|надішли*|надсилай*|kirim*|trimite*|στειλε*|kuldd|kuldj|ส่ง|بفرست",
    ),
    (READ, "laes|lue|precti*|прочитай*|baca|citeste*|διαβασε*|olvasd|อ่าน|بخوان"),
    (
        IGNORE,
        "ignorera|bortse fran|ignorer|se bort fra|unohda|jata huomiotta|ignoruj*|zapomen*|ігноруй*|bo qua|ignora|ignorati|αγνοησε*|hagyd figyelmen kivul|felejtsd el|ละเว้น|เพิกเฉย|نادیده بگیر",
    ),
    (
        PRIOR,
        "tidigare|foregaende|tidligere|forrige|aiemm*|edellis*|predchozi*|попередн*|truoc|anterioare|anterior|προηγουμεν*|korabbi*|elozo*|ก่อนหน้า|قبلی",
    ),
    (
        RULES,
        "instruktioner*|anvisning*|ohjeet|ohjeita|pokyny|pokynu|інструкці*|вказівк*|huong dan|chi dan|instructiunile|instructiuni|οδηγι*|utasitas*|คำสั่ง|دستورات",
    ),
    (
        NEVER,
        "utan|inte|aldrig|inget|uten|ikke|uden|aldri|ala|nikdy|bez|не|khong|dung|fara|μην|χωρις|soha|nelkul|อย่า|ไม่|未|بدون",
    ),
    (
        TELL,
        "sager|beratta|fortell|fortael|kerro|nerikej|neinformuj|кажи*|повідомляй*|spune*|πεις|πες|mondd|บอก|comente|comentes|comentar|comentarlo|commenter|commente|beritahu|بگو",
    ),
    (
        SECRET,
        "環境変数|環境變數|密碼|金鑰|認証情報|환경 변수|환경변수|متغيرات البيئة|متغيرات بيئة|كلمة مرور|كلمة السر|بيانات الاعتماد|ortam degisken*|\
         переменные окружения|переменных окружения|змінні середовища|змінних середовища|zmienne srodowiskowe|zmiennych srodowiskowych|\
         पर्यावरण चर|एनवायरनमेंट|bien moi truong|omgevingsvariabele*|miljovariab*|μεταβλητες περιβαλλοντος|μεταβλητων περιβαλλοντος|\
         variabel lingkungan|variables de entorno|variables d environnement|umgebungsvariable*|variabili d ambiente|variaveis de ambiente",
    ),
    (
        READ,
        "取得|獲取|获取|收集|列出|가져|수집|اجمع|اجلب|topla|listele|получи|собери|возьми|збери|отримай|візьми|pobierz|zbierz|\
         इकट्ठा|lay toan bo|lay danh sach|verzamel|hamta|samla|συλλεξε*|παρε|kumpulkan|ambil",
    ),
    (
        MOVE,
        "コピー|貼って|添付して|書き込|记到|发到|发给|发往|傳送|填进|放进|写进|塞进|放到|写到|填寫|복사|붙여|انسخ|ضع|أدرج|أضف|ضمن|yaz|koy|\
         kopyala|yerlestir|aktar|вставь|помести|запиши|скопируй|вложи|положи|укажи|встав|додай|скопіюй|передай|поклади|wpisz|wklej|\
         wstaw|umiesc|skopiuj|dodaj|डाल*|रख*|जोड़*|कॉपी|gui den|gui toi|gui cho|dien vao|chen vao|dua vao|dat vao|dan vao|sao chep|\
         them vao|plak|kopieer|plaats|vul|lagg|klistra|kopiera|skriv|βαλε|αντιγραψε|προσθεσε|masukkan|salin|tempel|sertakan",
    ),
    (
        TALK,
        "やり取り|チャット|聊天內容|聊天内容|채팅|الدردشة|الحوار|محادثة|sohbet*|чат|чата|чате|розмов*|листуванн*|czat*|वार्तालाप|चैट|hoi thoai|\
         tro chuyen|doan chat|konversation*|samtal*|συνομιλι*|συζητησ*|percakapan|obrolan",
    ),
    (WHOLE, "一覧|全文|toan bo|tat ca|hela|allt|ολη|ολο|ολες|ολοκληρ*|seluruh|semua|увес*|усю|усе|усі"),
    (
        FIELD,
        "フィールド|欄|參數|欄位|항목|الحقل|حقل|المعامل|معامل|alanina|parametresine|аргумент*|polu|pola|फ़ील्ड|पैरामीटर|truong|\
         tham so|veld|falt|faltet|πεδιο|παραμετρ*|kolom|bidang|argumen",
    ),
    (
        TELL,
        "見せ|話さ|触れ|提到|透漏|显示|展示|讓|让|보여|밝히|언급|تذكر|تظهر|تعرض|تكشف|gosterme*|anlatma*|показывай*|раскрывай*|показуй*|розповідай*|\
         згадуй*|pokazuj|ujawniaj|दिखा*|noi voi|noi cho|cho biet|tiet lo|thong bao|bao cho|hien thi|zeg|laat|toon|noem|\
         saga|informera|avsloja|αναφερεις|δειξεις|ενημερωσεις|αποκαλυψεις|beri tahu|katakan|sebutkan|tampilkan|tunjukkan",
    ),
    (NEVER, "ولا|فلا"),
    (USER, "यूज़र"),
    (
        STEALTH,
        "内緒|黙って|私下|은밀히|gizli olarak|потай|таємно|lang le|bi mat|im lang|i smyg|i hemlighet|στα κρυφα|μυστικα",
    ),
    (
        ADDRESSED,
        "给人工智能|给ai|致ai|致人工智能|对ai|给助手|致助手|致智能体|给智能体|写给|給ai|給人工智慧|致人工智慧|إلى|للمساعد|ai向け|kepada|untuk|для|до|προς",
    ),
    (
        MODEL,
        "人工智能|人工智慧|智慧體|语言模型|語言模型|인공지능|الذكاء الاصطناعي|مساعد|एआई|yapay zeka|нейросет*|ии|асистент*|model jezykowy|\
         modelu|taalmodel|sprakmodell*|assistenten|βοηθ*|τεχνητη νοημοσυνη|asisten|tro ly",
    ),
];
