"""A reader of a page: what is done to it in a browser, and what is seen of it."""


class Page:
    """What a reader does to a page and sees of it."""

    def __init__(self, driver, path):
        self.driver = driver
        driver.get(path.as_uri())
        self.run("while (!document.documentElement.dataset.ready) await new Promise(r => setTimeout(r, 10))")
        self.settle()

    def run(self, script, *arguments):
        code = f"const a = [...arguments], done = a.pop(); (async () => {{ {script} }})()"
        answer = self.driver.execute_async_script(f"{code}.then(v => done([v]), e => done('' + e));", *arguments)
        assert isinstance(answer, list), answer
        return answer[0]

    def settle(self):
        self.run("await new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))")

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def click(self, selector):
        self.one(selector).click()
        self.settle()

    def keys(self, *keys):
        self.one("#viewer").send_keys(*keys)
        self.settle()

    def point(self, y, x, *, name="FF", action="move"):
        """Put the pointer on the middle of a voxel, as the page lies on the screen."""
        from selenium.webdriver.common.action_chains import ActionChains

        canvas = self.one(f"figure[data-name={name}] canvas.map")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        crop = self.run("return crop")
        right = round(((x - crop["x"] + 0.5) / crop["nx"] - 0.5) * canvas.size["width"])
        down = round(((y - crop["y"] + 0.5) / crop["ny"] - 0.5) * canvas.size["height"])
        chain = ActionChains(self.driver, duration=0).move_to_element_with_offset(canvas, right, down)
        if action == "click":
            chain.click()
        elif action == "press":
            chain.click_and_hold()
        elif action == "release":
            chain.release()
        chain.perform()
        self.settle()

    def open_quality_maps(self):
        self.click("#quality-maps > summary")

    def text(self, name):
        return self.one(f"figure[data-name={name}] output.value").text

    def number(self, name):
        return number(self.text(name).split()[0])

    def means(self):
        rows = self.driver.find_elements("css selector", "#region-table tbody tr")
        return {
            row.get_attribute("data-name"): [cell.text for cell in row.find_elements("css selector", "td")]
            for row in rows
        }


def number(text):
    return float(text.replace("\N{MINUS SIGN}", "-"))
