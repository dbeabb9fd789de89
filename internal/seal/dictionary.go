package seal

// dictionary is what DEFLATE starts with: text that web sessions are likely to hold, so that even its first occurrence
// costs only a reference. The likeliest text stands last, where references are shortest. Stored sessions open with this
// very text only, so it must never change. A better one needs a form of its own.
const dictionary = "" +
	`Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML,` +
	` like Gecko) Chrome/140.0.0.0 Safari/537.36 (Macintosh; Intel Mac OS X 10_15_7) (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148 Linux; Android 10; K) Firefox/140.0"eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJ",` +
	`"access_token":"","refresh_token":"","id_token":"","token_type":"Bearer","expires_in":3600,"scope":"openid profile email offline_access",` +
	`"code_verifier":"","redirect_uri":"https://","oauth_state":"","nonce":"","csrf_token":"","session_id":"","request_id":"",` +
	`"ip_address":"192.168.","remote_addr":"127.0.0.1","user_agent":"device":"browser":"platform":"windows","android","language":"en",` +
	`"locale":"en-US","en-GB","de-DE","fr-FR","es-ES","it-IT","nl-NL","pt-BR","pl-PL","sv-SE","da-DK","ja-JP","zh-CN","ko-KR","timezone":"UTC",` +
	`"time_zone":"America/New_York","America/Los_Angeles","America/Chicago","America/Sao_Paulo","Asia/Tokyo","Asia/Kolkata","Asia/Shanghai",` +
	`"Australia/Sydney","Europe/London","Europe/Paris","Europe/Berlin","Europe/Madrid","Europe/Rome","Europe/Amsterdam","Europe/Stockholm",` +
	`"Europe/Warsaw","theme":"system","light","dark","settings":{"preferences":{"notifications":true,"newsletter":"weekly","monthly","daily",` +
	`"never","public","private","flash":[{"message":"error":"warning":"success":"level":"info","text":"redirect_to":"/","return_to":"/",` +
	`"previous_url":"/","referrer":"https://www.google.com/","step":1,"filters":{"page":1,"per_page":20,"sort":"desc","order":"asc",` +
	`"query":"search":"history":["recent":["visited":["viewed":["favorites":["wishlist":[{"version":1,` +
	`"meta":{"data":{"attributes":{"options":{"type":"default","kind":"status":"active","pending","completed","state":"description":"",` +
	`"label":"value":"key":"code":"","slug":"category":"tags":["brand":"color":"Black","White","Blue","Green","Red","Gray","Silver",` +
	`"size":"Small","Medium","Large","Size ","Set of ","Pack of ","with ","Edition","variant":"weight":"material":"Cotton","Leather",` +
	`"Metal","Wireless ","available":true,"in_stock":true,"rating":4.5,"username":"","first_name":"","last_name":"","firstName":"",` +
	`"lastName":"","full_name":"","displayName":"","display_name":"","gender":"birthday":"is_admin":false,"isAdmin":false,"is_active":true,` +
	`"isLoggedIn":true,"authenticated":true,"verified":true,"enabled":true,"plan":"free","premium","permissions":["read","write","delete",` +
	`"admin"],"role":"roles":["user","admin","customer","member","editor"],` +
	`"groups":["team":"organization":"company":"department":"account_id":"","tenant_id":"","org_id":"","userId":"","user_id":"",` +
	`"customer_id":"","order_id":"","cart_id":"","product_id":"","productId":"","item_id":"","uuid":"","phone":"+1","mobile":"+44",` +
	`"address":{"street":"Street ","Road","Avenue","line1":"city":"London","New York","Berlin","Paris","state":"CA","region":"","zip":"",` +
	`"postal_code":"","country":"US","GB","DE","FR","country_code":"shipping":{"billing":{"payment":{"method":"card","coupon":"discount":0,` +
	`"tax":0,"shipping_cost":"subtotal":"total":0.00,"amount":"currency":"USD","EUR","GBP","cart":{"items":[],"count":1,"qty":1,"quantity":1,` +
	`"unit_price":"price":19.99,"sku":"","avatar":"https://cdn.","photo":"https://storage.googleapis.com/","image":"https://images.",` +
	`"images":["https://static.","thumbnail":"https://media.","href":"http://","link":"https://api.",".com/api/v1/",".s3.amazonaws.com/",` +
	`".co.uk/",".org/",".net/",".io/",".com/images/",".com/products/",".com/product/",".com/users/",".com/avatars/","/index.html",".svg",` +
	`".png",".jpg",".jpeg",".webp","email":"@example.com","@gmail.com","@outlook.com","@yahoo.com","path":"/","url":"https://www.",` +
	`"https://shop.","lat":"lng":"longitude":null,true},false},"lastLogin":"loginAt":"createdAt":"","updatedAt":"","expiresAt":"",` +
	`"timestamp":"","date":"2025-","start":"end":"last_seen":"last_activity":"last_login_at":"expires_at":"2028-12-31T23:59:59.000Z",` +
	`"updated_at":"2027-01-01T00:00:00Z","created_at":"2026-10-20T"}],"},{"id":"","name":"","title":"`
