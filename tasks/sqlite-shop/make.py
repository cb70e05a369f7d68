"""Makes the dump of the shop's database and prints the targets.

Run it in this folder; it writes the same bytes every time.
"""

import datetime
import pathlib
import random
import sqlite3

SCHEMA = """CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price_cents INTEGER NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id), placed_on TEXT NOT NULL,
  status TEXT NOT NULL CHECK (status IN ('paid', 'cancelled', 'open')), discount_percent INTEGER);
CREATE TABLE order_lines (order_id INTEGER NOT NULL REFERENCES orders(id), product_id INTEGER NOT NULL REFERENCES products(id),
  quantity INTEGER NOT NULL, unit_price_cents INTEGER NOT NULL);
CREATE TABLE returns (order_id INTEGER NOT NULL REFERENCES orders(id), product_id INTEGER NOT NULL REFERENCES products(id),
  quantity INTEGER NOT NULL, returned_on TEXT NOT NULL);
"""

QUERIES = {
    "a": """SELECT SUM(l.quantity * l.unit_price_cents) FROM orders o JOIN order_lines l ON l.order_id = o.id
      JOIN customers c ON c.id = o.customer_id JOIN products p ON p.id = l.product_id
      WHERE o.status = 'paid' AND c.city = 'Utrecht' AND p.category = 'garden'
      AND o.placed_on BETWEEN '2024-04-01' AND '2024-06-30' AND o.discount_percent IS NULL""",
    "b": """SELECT SUM(l.quantity) - (SELECT SUM(r.quantity) FROM returns r JOIN orders o ON o.id = r.order_id
        JOIN products p ON p.id = r.product_id WHERE p.category = 'kitchen' AND o.status = 'paid')
      FROM order_lines l JOIN orders o ON o.id = l.order_id JOIN products p ON p.id = l.product_id
      WHERE p.category = 'kitchen' AND o.status = 'paid'""",
    "c": """SELECT COUNT(*) FROM customers c WHERE (SELECT COUNT(*) FROM orders o WHERE o.customer_id = c.id AND o.status = 'paid'
        AND o.placed_on LIKE '2024-%') >= 3
      AND NOT EXISTS (SELECT 1 FROM returns r JOIN orders o ON o.id = r.order_id WHERE o.customer_id = c.id)""",
}


def main():
    rng = random.Random(515)
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    rows = []

    def insert(table, values):
        shown = ", ".join("NULL" if v is None else str(v) if isinstance(v, int) else f"'{v}'" for v in values)
        rows.append((table, f"({shown})"))

    first = ["Aad", "Bea", "Cor", "Dirk", "Els", "Fenna", "Gijs", "Hugo", "Ina", "Joep"]
    last = ["Bakker", "Visser", "Smit", "Mulder", "Bos", "Vos"]
    for number in range(1, 61):
        city = rng.choice(["Utrecht", "Leiden", "Delft", "Utrecht ", "Zwolle"]).strip()
        insert("customers", (number, f"{rng.choice(first)} {rng.choice(last)}", city))
    products = []
    for number in range(1, 25):
        category = ["garden", "kitchen", "books", "toys"][number % 4]
        products.append((number, f"{category} item {number}", category, rng.randrange(199, 8999)))
        insert("products", products[-1])
    for order in range(1, 301):
        day = datetime.date(2023, 10, 1) + datetime.timedelta(days=rng.randrange(420))
        status = rng.choices(["paid", "cancelled", "open"], [80, 12, 8])[0]
        insert("orders", (order, rng.randrange(1, 61), day.isoformat(), status, rng.choice([None, None, 0, 10, 25])))
        for product in rng.sample(products, rng.randrange(1, 4)):
            quantity = rng.randrange(1, 6)
            # The price at the time of the order, not today's.
            insert("order_lines", (order, product[0], quantity, product[3] - rng.choice([0, 0, 10, 50])))
            if status != "open" and rng.random() < 0.1:
                back = day + datetime.timedelta(days=rng.randrange(3, 30))
                insert("returns", (order, product[0], rng.randrange(1, quantity + 1), back.isoformat()))
    text = SCHEMA
    for table in ("customers", "products", "orders", "order_lines", "returns"):
        values = [shown for name, shown in rows if name == table]
        text += f"INSERT INTO {table} VALUES\n" + ",\n".join(values) + ";\n"
    pathlib.Path("files", "shop.sql").write_text(text)
    database.executescript("BEGIN;" + text[len(SCHEMA):] + "COMMIT;")
    for name, query in QUERIES.items():
        print(name, database.execute(query).fetchone()[0])


main()
