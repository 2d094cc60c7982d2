// The page of kit review, which tests/web/test_web.py writes into the folder that KIT_WEB_TEST names.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

const folder = process.env["KIT_WEB_TEST"] ?? "";
const executablePath = process.env["KIT_CHROMIUM"] ?? "/usr/bin/chromium";

describe.skipIf(folder === "")("the page of kit review", () => {
  let browser: Browser;
  let page: Page;
  let complaints: string[];

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  });
  afterAll(async () => browser?.close());
  beforeEach(async () => {
    complaints = [];
    page = await (await browser.newContext()).newPage();
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => complaints.push(message.text()));
    await page.goto(pathToFileURL(join(folder, "review", "index.html")).href);
  });
  afterEach(() => expect(complaints).toEqual([]));

  const corrections = async (): Promise<string[][]> => {
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
    const text = await readFile(await download.path(), "utf-8");
    return text.trimEnd().split("\n").map((line) => line.split(","));
  };

  test("labels are mended by keys, undone, kept over a reload, and handed on", async () => {
    const suspects = (await readFile(join(folder, "review", "suspects.csv"), "utf-8")).split("\n");
    const [first, second] = suspects.slice(1, 3).map((line) => line.split(","));
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter"); // the suggestion
    await page.keyboard.press("x");
    await page.keyboard.press("k");
    await page.keyboard.press("u");
    await page.fill("#by", "Ada");
    await page.reload();
    expect(await page.textContent("#count")).toBe("2 decided, 2 of them changed");
    const [head, ...rows] = await corrections();
    expect(head).toEqual(["path", "digest", "label", "was", "reason", "by"]);
    expect(rows.slice(1).map((row) => [row[0], row[2], row[3], row[5]])).toEqual([
      [first[0], first[2], first[1], "Ada"],
      [second[0], "exclude", second[1], "Ada"],
    ]);
  });

  test("hands on what was corrected before", async () => {
    const html = await readFile(join(folder, "review", "index.html"), "utf-8");
    expect(html).toContain(`"earlier": {"${"0".repeat(64)}": "red"}`);
    const [, ...rows] = await corrections();
    expect(rows).toEqual([["", "0".repeat(64), "red", "", "earlier", ""]]);
  });

  test("a number is a label", async () => {
    await page.keyboard.press("ArrowRight");
    const own = await page.locator("#grid li").first().textContent();
    const other = own?.startsWith("blue") ? "2" : "1";
    await page.keyboard.press(other);
    expect((await corrections())[2][2]).toBe(other === "2" ? "red" : "blue");
  });

  test("axe finds nothing", async () => {
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    await page.keyboard.press("x");
    await page.evaluate(await readFile("node_modules/axe-core/axe.min.js", "utf-8"));
    // biome-ignore lint: axe brings no types into the page
    const found = await page.evaluate(() => (globalThis as any).axe.run());
    const ids = found.violations.map((one: { id: string; nodes: { html: string }[] }) => [
      one.id,
      ...one.nodes.map((node) => node.html),
    ]);
    expect(ids).toEqual([]);
  });
});
