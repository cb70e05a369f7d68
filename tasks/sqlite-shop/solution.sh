# Asks the database the question of this sample.
case "$HARNESS_SAMPLE" in
a) query="
    SELECT SUM(l.quantity * l.unit_price_cents) FROM order_lines l
    JOIN orders o ON o.id = l.order_id JOIN customers c ON c.id = o.customer_id JOIN products p ON p.id = l.product_id
    WHERE o.status = 'paid' AND o.discount_percent IS NULL AND c.city = 'Utrecht' AND p.category = 'garden'
      AND o.placed_on >= '2024-04-01' AND o.placed_on < '2024-07-01'" ;;
b) query="
    WITH paid AS (SELECT id FROM orders WHERE status = 'paid'), kitchen AS (SELECT id FROM products WHERE category = 'kitchen')
    SELECT (SELECT SUM(quantity) FROM order_lines WHERE order_id IN paid AND product_id IN kitchen)
         - (SELECT SUM(quantity) FROM returns WHERE order_id IN paid AND product_id IN kitchen)" ;;
c) query="
    SELECT COUNT(*) FROM (
      SELECT customer_id FROM orders WHERE status = 'paid' AND substr(placed_on, 1, 4) = '2024'
      GROUP BY customer_id HAVING COUNT(*) >= 3
      EXCEPT SELECT o.customer_id FROM returns r JOIN orders o ON o.id = r.order_id)" ;;
esac
sqlite3 -readonly /data/shop.db "$query"
