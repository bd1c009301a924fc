{#- The grain of a table: no two rows agree in all of these columns; two nulls agree. -#}
{% test one_row_per(model, columns) %}
select {{ columns | join(", ") }}, count(*) as n_rows
from {{ model }}
group by {{ columns | join(", ") }}
having count(*) > 1
{% endtest %}
