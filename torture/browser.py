"""Drives the browsers of torture/browser by the DevTools protocol: PORT of the room, "PORT PATH" of the browser, a directory for pictures."""
import asyncio, base64, itertools, json, sys, websockets

room = "http://127.0.0.1:" + sys.argv[1].strip()
port, path = sys.argv[2].split()
failed = 0


def check(ok, what, more=""):
    global failed
    failed += not ok
    print(("ok " if ok else "not ok ") + what + (": " + str(more) if more and not ok else ""), flush=True)


class Browser:
    def __init__(self, socket):
        self.socket, self.numbers, self.waiting, self.complaints, self.loaded = socket, itertools.count(1), {}, [], set()

    async def listen(self):
        async for text in self.socket:
            said = json.loads(text)
            if "id" in said:
                self.waiting.pop(said["id"]).set_result(said)
                continue
            method, params = said["method"], said.get("params", {})
            if method == "Log.entryAdded" and params["entry"]["level"] in ("warning", "error"):
                self.complaints.append(params["entry"]["text"])
            elif method == "Runtime.exceptionThrown":
                self.complaints.append(params["exceptionDetails"]["text"])

    async def ask(self, method, session=None, **params):
        number = next(self.numbers)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps({"id": number, "method": method, "params": params, **({"sessionId": session} if session else {})}))
        said = await asyncio.wait_for(self.waiting[number], 30)
        if "error" in said:
            raise RuntimeError(method + ": " + said["error"]["message"])
        return said["result"]


class Page:
    """A page of a browser's of its own: no cookies of anybody else's."""

    @classmethod
    async def open(cls, browser):
        self = cls()
        self.browser = browser
        context = (await browser.ask("Target.createBrowserContext"))["browserContextId"]
        target = (await browser.ask("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        self.session = (await browser.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self.ask(domain + ".enable")
        return self

    async def ask(self, method, **params):
        return await self.browser.ask(method, self.session, **params)

    async def run(self, script):
        result = await self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return result["result"].get("value")

    async def until(self, script, what):
        """Waits until the page says so."""
        value = None
        for _ in range(200):
            try:
                value = await self.run(script)
            except RuntimeError:  # between two pages
                value = None
            if value:
                break
            await asyncio.sleep(0.05)
        check(bool(value), what, await self.run("document.documentElement.outerHTML"))

    async def click(self, selector):
        """As a hand would: where the thing is on the screen."""
        at = await self.run(
            "(() => { const r = document.querySelector(%s).getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()"
            % json.dumps(selector)
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.ask("Input.dispatchMouseEvent", type=kind, x=at[0], y=at[1], button="left", clickCount=1)

    async def write(self, selector, text):
        await self.click(selector)
        await self.ask("Input.insertText", text=text)

    async def picture(self, name):
        data = (await self.ask("Page.captureScreenshot", format="png"))["data"]
        with open(sys.argv[3] + "/" + name + ".png", "wb") as file:
            file.write(base64.b64decode(data))


async def enter(page, name):
    await page.ask("Page.navigate", url=room + "/")
    await page.until("document.title == 'The door' && document.readyState == 'complete'", name + " stands at the door")
    await page.picture(name + "-door")
    await page.write("#who", name)
    await page.click("#enter")
    await page.until("document.title == 'The room' && document.getElementById('me').textContent == %s" % json.dumps(name), name + " is in the room")


async def main():
    async with websockets.connect("ws://127.0.0.1:%s%s" % (port, path), max_size=None) as socket:
        browser = Browser(socket)
        listening = asyncio.ensure_future(browser.listen())
        ann, bob = await Page.open(browser), await Page.open(browser)
        await enter(ann, "Ann")
        await ann.until("document.getElementById('here').textContent == 'Ann'", "the event stream says that Ann is here")
        await enter(bob, "<Bob> & Co")
        await ann.until("document.getElementById('here').textContent.includes('Bob')", "the event stream tells Ann of Bob")
        await ann.write("#line", "hello, <b>Bob</b>")
        await ann.click("#say button")
        await bob.until("document.getElementById('said').textContent.includes('Ann: hello, <b>Bob</b>')", "Bob hears Ann by the WebSocket")
        await bob.write("#line", "gr\u00fc\u00df dich")
        await bob.click("#say button")
        await ann.until("document.getElementById('said').textContent.includes('gr\u00fc\u00df dich')", "Ann hears Bob")
        color = await ann.run("getComputedStyle(document.getElementById('said')).color")
        check(color == "rgb(0, 128, 128)", "the style sheet is in force", color)
        await ann.picture("Ann-room")
        await bob.picture("Bob-room")
        check(browser.complaints == [], "the browser complains of nothing", browser.complaints)
        # Sessions and tokens: a forged form, a script of others, the cookie.
        status = await bob.run("fetch('/enter', { method: 'POST', body: new URLSearchParams({ who: 'Eve' }) }).then(r => r.status)")
        check(status == 403, "a form without its token is refused", status)
        check(await bob.run("document.cookie") == "", "scripts do not see the session's cookie")
        await bob.run("document.body.appendChild(document.createElement('script')).textContent = 'window.evil = true'")
        check(await bob.run("window.evil") is None, "the policy stops a script in the page")
        await ann.ask("Page.reload")
        await ann.until("document.readyState == 'complete' && document.getElementById('me').textContent == 'Ann'", "a reload keeps the session")
        await bob.click("#leave")
        await bob.until("document.title == 'The door'", "Bob leaves, and stands at the door")
        await ann.until("document.getElementById('here').textContent == 'Ann'", "the event stream tells Ann that Bob is gone")
        await ann.picture("Ann-alone")
        listening.cancel()


asyncio.run(main())
sys.exit(failed > 0)
