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
    expect(await page.textContent("#count")).toMatch(/; 3 decided, 2 of them changed$/);
    const [head, ...rows] = await corrections();
    expect(head).toEqual(["path", "digest", "label", "was", "reason", "by"]);
    expect(rows.slice(2).map((row) => [row[0], row[2], row[3], row[5]])).toEqual([
      [first[0], first[2], first[1], "Ada"],
      [second[0], "exclude", second[1], "Ada"],
    ]);
    // Kept by k, taken back by u: nothing is handed on of it.
    expect(rows.length).toBe(4);
  });

  test("what is kept is handed on too, and Enter takes only what is suggested", async () => {
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("k");
    const [own] = (await corrections()).slice(3);
    expect(own[2]).toBe(own[3]);
    await page.selectOption("#filter", "all");
    await page.locator("#grid li").nth(100).focus(); // nothing is wrong with its label
    await page.keyboard.press("Enter");
    expect((await corrections()).length).toBe(4);
  });

  test("hands on what was corrected before", async () => {
    const html = await readFile(join(folder, "review", "index.html"), "utf-8");
    expect(html).toContain(`"earlier": [["", "${"0".repeat(64)}", "red", "", "", "Eve"]`);
    const [, ...rows] = await corrections();
    expect(rows).toEqual([["", "0".repeat(64), "red", "", "", "Eve"], rows[1]]);
  });

  test("a number is a label", async () => {
    await page.keyboard.press("ArrowRight");
    const own = await page.locator("#grid li").first().textContent();
    const other = own?.startsWith("blue") ? "2" : "1";
    await page.keyboard.press(other);
    expect((await corrections())[3][2]).toBe(other === "2" ? "red" : "blue");
  });

  test("the lasso holds what it is drawn around, and filters let through", async () => {
    const shown = async () => Number((await page.textContent("#count"))?.split(" ")[0]);
    const found = await shown();
    await page.selectOption("#filter", "all");
    expect(await shown()).toBe(240);
    expect(found).toBeLessThan(240);
    await page.selectOption("#label", "0");
    expect(await shown()).toBe(123); // three of the reds lie among the blues
    await page.selectOption("#part", "0");
    expect(await shown()).toBeLessThan(123);
    await page.click("#lasso");
    await page.locator("#map").scrollIntoViewIfNeeded();
    const stage = await page.locator("#map").boundingBox();
    if (stage === null) throw new Error("no map");
    const corners = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]].map(([x, y]) => [
      stage.x + 6 + x * (stage.width - 12), // its corners are round
      stage.y + 6 + y * (stage.height - 12),
    ]);
    await page.mouse.move(corners[0][0], corners[0][1]);
    await page.mouse.down();
    for (const [x, y] of [...corners.slice(1), corners[0]]) await page.mouse.move(x, y, { steps: 4 });
    await page.mouse.up();
    const positions = JSON.parse((await page.textContent("#data")) ?? "").positions as [number, number][];
    const left = positions.filter(([x]) => x < 0.5).length;
    expect(Math.abs((await shown()) - left)).toBeLessThan(4); // a point may lie below the line itself
    expect(left).toBeGreaterThan(20);
    await page.click("#whole");
    expect(await shown()).toBe(found);
  });

  test("a pointer on the map shows the photograph, and a click its place in the grid", async () => {
    const [place] = JSON.parse((await page.textContent("#data")) ?? "").positions as [number, number][];
    await page.locator("#map").scrollIntoViewIfNeeded();
    const stage = await page.locator("#map").boundingBox();
    if (stage === null) throw new Error("no map");
    const at = [stage.x + 10 + place[0] * (stage.width - 20), stage.y + 10 + place[1] * (stage.height - 20)];
    await page.mouse.move(at[0], at[1]);
    expect(await page.locator("#tip img").count()).toBe(1);
    await page.mouse.click(at[0], at[1]);
    expect(await page.locator("#grid li").count()).toBe(1);
    expect(await page.textContent("#count")).toMatch(/^1 shown/);
  });

  test("all images come into the grid, page by page, also by the keyboard", async () => {
    await page.selectOption("#filter", "all");
    expect(await page.locator("#grid li").count()).toBe(120);
    await page.locator("#grid li").nth(119).focus();
    await page.keyboard.press("ArrowRight");
    expect(await page.locator("#grid li").count()).toBe(240);
    await page.keyboard.press("x");
    expect((await corrections()).length).toBe(4); // the head, two earlier ones, and this one
    expect(await page.locator("#more").isVisible()).toBe(false);
  });

  test("a label that the data does not have can be given, and has a number from then on", async () => {
    let answer = " green ";
    page.on("dialog", (dialog) => dialog.accept(answer));
    await page.keyboard.press("ArrowRight");
    await page.selectOption("#give", "new");
    await page.keyboard.press("3");
    expect(await page.textContent("#labels")).toMatch(/3 green/);
    await page.reload();
    expect(await page.textContent("#labels")).toMatch(/3 green/);
    await page.keyboard.press("ArrowRight");
    await page.selectOption("#give", { label: "green" });
    answer = "exclude"; // is told to be none
    await page.selectOption("#give", "new");
    answer = "  ";
    await page.selectOption("#give", "new"); // nothing is given
    expect((await corrections()).slice(3).map((row) => row[2])).toEqual(["green", "green"]);
  });

  test("photographs without a label get one", async () => {
    await page.goto(pathToFileURL(join(folder, "next", "index.html")).href);
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("1");
    await page.keyboard.press("x");
    await page.keyboard.press("k"); // means nothing here
    await page.keyboard.press("2");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#download")]);
    expect(download.suggestedFilename()).toBe("labels.csv");
    const rows = (await readFile(await download.path(), "utf-8")).trimEnd().split("\n");
    expect(rows[0]).toBe("path,label,by");
    expect(rows.slice(1).map((row) => row.split(",")[1])).toEqual(["blue", "red"]);
  });

  test("axe finds nothing", async () => {
    await page.selectOption("#filter", "all");
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
